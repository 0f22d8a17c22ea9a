#include "nn/yaml.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "core/files.h"
#include "nn/nearest.h"

namespace pare::nn {

namespace {

// An alias may name what it is a part of, or double itself: both end here.
constexpr int kDeepest = 50;
constexpr int64_t kMostValues = 200000;

std::string listed(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& w : words) all += (all.empty() ? "" : ", ") + w;
  return all;
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& names) {
  const std::string near = nearest(word, names);
  return near.empty() ? near : ". Did you mean " + near + "?";
}

/// yaml-cpp counts lines from 0, and knows none (-1) for an empty document.
int line_of(const YAML::Mark& mark) { return std::max(mark.line, 0) + 1; }

}  // namespace

/// Copies what yaml-cpp parsed.
class YamlReader {
 public:
  explicit YamlReader(std::shared_ptr<const std::string> file) : file_(std::move(file)) {}

  Yaml read(const std::string& text) {
    std::vector<YAML::Node> documents;
    try {
      documents = YAML::LoadAll(text);
    } catch (const YAML::Exception& e) {
      throw Error(str(*file_, ":", line_of(e.mark), ": this is not YAML: ", e.msg));
    }
    PARE_CHECK(documents.size() <= 1, *file_, ": holds ", documents.size(),
               " documents, expected one", hint("remove the lines that say ---"));
    return documents.empty() ? value({}, "", 1, 0) : value(documents[0], "", 1, 0);
  }

 private:
  Yaml value(const YAML::Node& node, const std::string& path, int line, int depth) {
    Yaml y;
    y.file_ = file_;
    y.path_ = path;
    y.line_ = node.IsDefined() && !node.IsNull() ? line_of(node.Mark()) : line;
    if (depth > kDeepest) y.fail(str("is more than ", kDeepest, " levels deep"));
    if (++values_ > kMostValues) y.fail(str("the file has more than ", kMostValues, " values"));
    if (!node.IsDefined() || node.IsNull()) return y;
    if (node.IsScalar()) {
      y.kind_ = Yaml::Kind::scalar;
      y.text_ = node.Scalar();
    } else if (node.IsSequence()) {
      y.kind_ = Yaml::Kind::list;
      for (const YAML::Node& item : node) {
        y.items_.push_back(value(item, str(path, "[", y.items_.size(), "]"), y.line_, depth + 1));
      }
    } else {
      read_map(node, y, depth);
    }
    return y;
  }

  void read_map(const YAML::Node& node, Yaml& y, int depth) {
    y.kind_ = Yaml::Kind::map;
    for (const auto& pair : node) {
      const int line = line_of(pair.first.Mark());
      PARE_CHECK(pair.first.IsScalar(), *file_, ":", line, ": a key must be a plain word");
      const std::string key = pair.first.Scalar();
      for (const Yaml::Entry& e : y.entries_) {
        PARE_CHECK(e.key != key, *file_, ":", line, ": the key ", key, " is there twice",
                   hint(str("it was first in line ", e.line)));
      }
      const std::string path = y.path_.empty() ? key : y.path_ + "." + key;
      y.entries_.push_back({key, line, value(pair.second, path, line, depth + 1)});
    }
  }

  std::shared_ptr<const std::string> file_;
  int64_t values_ = 0;
};

Yaml Yaml::load(const std::string& path) { return parse(read_file(path), path); }

Yaml Yaml::parse(const std::string& text, const std::string& name) {
  return YamlReader(std::make_shared<const std::string>(name)).read(text);
}

const std::vector<Yaml::Entry>& Yaml::entries() const {
  if (!is_map() && !is_null()) fail("expected keys and values, got " + shown());
  return entries_;
}

const Yaml* Yaml::find(const std::string& key) const {
  for (const Entry& e : entries()) {
    if (e.key == key) return &e.value;
  }
  return nullptr;
}

const Yaml& Yaml::at(const std::string& key) const {
  const Yaml* value = find(key);
  if (!value) fail("the key " + key + " is missing");
  return *value;
}

void Yaml::check_keys(const std::vector<std::string>& known) const {
  for (const Entry& e : entries()) {
    if (std::find(known.begin(), known.end(), e.key) != known.end()) continue;
    throw Error(str(*file_, ":", e.line, ": unknown key ", e.value.path_,
                    did_you_mean(e.key, known), hint("known here: " + listed(known))));
  }
}

const std::vector<Yaml>& Yaml::items() const {
  if (!is_list()) fail("expected a list, got " + shown());
  return items_;
}

const std::string& Yaml::text() const {
  if (!is_scalar()) fail("expected a single value, got " + shown());
  return text_;
}

const std::string& Yaml::word(const std::vector<std::string>& words) const {
  const std::string& t = text();
  if (std::find(words.begin(), words.end(), t) == words.end()) {
    fail("expected one of " + listed(words) + ", got '" + t + "'" + did_you_mean(t, words));
  }
  return t;
}

bool Yaml::boolean() const {
  std::string t = text();
  std::transform(t.begin(), t.end(), t.begin(), [](unsigned char c) { return std::tolower(c); });
  if (t == "true" || t == "yes" || t == "on") return true;
  if (t != "false" && t != "no" && t != "off") fail("expected true or false, got '" + t + "'");
  return false;
}

int64_t Yaml::integer(int64_t min, int64_t max) const {
  const std::string& t = text();
  int64_t value = 0;
  const auto [end, error] = std::from_chars(t.data(), t.data() + t.size(), value);
  if (error != std::errc{} || end != t.data() + t.size() || value < min || value > max) {
    fail(str("expected a whole number from ", min, " to ", max, ", got '", t, "'"));
  }
  return value;
}

double Yaml::number(double min, double max) const {
  const std::string& t = text();
  double value = 0;
  const auto [end, error] = std::from_chars(t.data(), t.data() + t.size(), value);
  const bool whole = error == std::errc{} && end == t.data() + t.size();
  if (!whole || !std::isfinite(value) || value < min || value > max) {
    fail(str("expected a number from ", min, " to ", max, ", got '", t, "'"));
  }
  return value;
}

void Yaml::fail(const std::string& problem, const std::string& advice) const {
  throw Error(str(*file_, ":", line_, ": ", path_, path_.empty() ? "" : ": ", problem,
                  advice.empty() ? "" : hint(advice)));
}

std::string Yaml::shown() const {
  switch (kind_) {
    case Kind::null:
      return "nothing";
    case Kind::scalar:
      return "'" + text_ + "'";
    case Kind::list:
      return "a list";
    case Kind::map:
      return "keys and values";
  }
  return "?";
}

}  // namespace pare::nn
