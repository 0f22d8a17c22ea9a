#pragma once
// Command lines. An args struct names its fields once, in fields(); flags, help, defaults and the
// saved config all come from that list.

#include <functional>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "apps/json.h"
#include "core/error.h"

namespace pare::cli {

/// What a value must satisfy.
struct Rule {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool above_min = false;                // min itself is refused
  std::vector<std::string> one_of = {};  // texts only
  std::string or_ending = {};            // besides, texts that end so
  std::string placeholder = "TEXT";      // of a text in --help
};

/// The fields of one args struct, bound to its members.
class Fields {
 public:
  struct Field {
    std::string group, name, help, placeholder, initial;
    bool flag = false;                                 // without a value
    std::function<void(const std::string& text)> set;  // checks, then assigns
    std::function<Json()> json;
    bool list = false;  // may be given several times
  };

  /// Heading of the fields that follow, in --help.
  void group(const std::string& title) { group_ = title; }
  void operator()(bool& value, const std::string& name, const std::string& help);
  void operator()(int64_t& value, const std::string& name, const std::string& help,
                  const Rule& rule = {});
  void operator()(float& value, const std::string& name, const std::string& help,
                  const Rule& rule = {});
  void operator()(std::string& value, const std::string& name, const std::string& help,
                  const Rule& rule = {});
  /// Comma-separated whole numbers.
  void operator()(std::vector<int64_t>& value, const std::string& name, const std::string& help,
                  const Rule& rule = {});
  /// A flag that may be given several times, or once with commas.
  void operator()(std::vector<std::string>& value, const std::string& name, const std::string& help,
                  const Rule& rule = {});

  const std::vector<Field>& all() const { return fields_; }

 private:
  std::string group_;
  std::vector<Field> fields_;
};

struct Program {
  std::string name;           // "pare train"
  std::string summary;        // one sentence
  std::string rest = {};      // what positional arguments are, e.g. "RUN..."; empty: there are none
  std::string examples = {};  // printed below the flags
};

/// What was on the command line.
struct Given {
  bool leave = false;             // --help or --version was answered: return 0
  std::set<std::string> flags;    // without dashes
  std::vector<std::string> rest;  // positional arguments
  bool has(const std::string& flag) const { return flags.count(flag) > 0; }
};

/// Sets the fields that argv names. Unknown flags and bad values throw; the error names the nearest
/// flag.
Given parse(const Fields& fields, const Program& program, int argc, char** argv);

template <class Args>
requires requires(Args& a, Fields& f) { a.fields(f); }
Given parse(Args& args, const Program& program, int argc, char** argv) {
  Fields fields;
  args.fields(fields);
  return parse(fields, program, argc, argv);
}

/// {"epochs": 300, ...}
template <class Args>
Json to_json(Args& args) {
  Fields fields;
  args.fields(fields);
  Json out = Json::object();
  for (const Fields::Field& f : fields.all()) out[f.name] = f.json();
  return out;
}

struct Exceptions {
  std::set<std::string> skip = {};        // flags that are not taken over
  std::set<std::string> may_differ = {};  // taken over, but a flag given wins
};
/// Takes over the values that to_json saved, where no flag was given. A flag that was given must
/// agree with the saved value; `who` saved it, for the error: "runs/a was started with".
void inherit(const Fields& fields, const Json& saved, const Given& given, const std::string& who,
             const Exceptions& exceptions = {});

/// The candidate with the fewest edits from `text`, or nothing if none is near.
std::string nearest(const std::string& text, const std::vector<std::string>& candidates);

/// "pare 0.1.0 (commit 0123abc)"
std::string version_line();

/// Runs `body`, prints an error as "pare: message" on stderr and returns 1 for it.
int run(const std::function<int()>& body);

}  // namespace pare::cli
