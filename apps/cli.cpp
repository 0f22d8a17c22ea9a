#include "apps/cli.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cxxopts.hpp>

#include "apps/version.h"

namespace pare::cli {

namespace {

[[noreturn]] void refuse(const std::string& name, const std::string& got,
                         const std::string& expected) {
  throw Error(fmt::format("--{}: got '{}', expected {}", name, got, expected), "cli");
}

std::string bounds(const Rule& rule) {
  std::string text;
  if (std::isfinite(rule.min)) {
    text += fmt::format(" {} {}", rule.above_min ? "above" : "of at least", rule.min);
  }
  if (std::isfinite(rule.max))
    text += fmt::format("{} at most {}", text.empty() ? "" : ",", rule.max);
  return text;
}

template <class T>
T parse_number(const std::string& name, const std::string& text, const Rule& rule) {
  const std::string expected =
      (std::is_integral_v<T> ? "a whole number" : "a number") + bounds(rule);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) refuse(name, text, expected);
  const auto v = static_cast<double>(value);
  if (!std::isfinite(v) || v < rule.min || v > rule.max || (rule.above_min && v == rule.min)) {
    refuse(name, text, expected);
  }
  return value;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

/// Insertions, deletions, replacements and swaps of neighbours.
size_t edits(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] =
          std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

/// cxxopts takes one-letter names with one dash only; `--W 2` and `--W=2` become `-W 2`.
std::vector<std::string> normalize(int argc, char** argv) {
  std::vector<std::string> out;
  for (int i = 0; i < argc; ++i) {
    const std::string arg = argv[i];
    const bool letter = arg.size() >= 3 && arg.compare(0, 2, "--") == 0 && std::isalpha(arg[2]);
    if (letter && arg.size() == 3) {
      out.push_back(arg.substr(1));
    } else if (letter && arg[3] == '=') {
      out.insert(out.end(), {arg.substr(1, 2), arg.substr(4)});
    } else {
      out.push_back(arg);
    }
  }
  return out;
}

cxxopts::Options describe(const Fields& fields, const Program& program) {
  cxxopts::Options options(program.name, program.summary + "\n");
  options.set_width(100).allow_unrecognised_options();
  options.custom_help("[flags]").positional_help(program.rest).show_positional_help();
  for (const Fields::Field& f : fields.all()) {
    std::shared_ptr<cxxopts::Value> value;
    if (f.flag) {
      value = cxxopts::value<bool>();
    } else if (f.list) {
      value = cxxopts::value<std::vector<std::string>>();
    } else {
      value = cxxopts::value<std::string>();
      if (!f.initial.empty()) value->default_value(f.initial);
    }
    options.add_option(f.group, cxxopts::Option(f.name, f.help, value, f.placeholder));
  }
  options.add_options("Other")("h,help", "show this")("version", "show the version");
  return options;
}

/// cxxopts writes one-letter names with one dash, in another column.
std::string two_dashes(std::string text, const std::string& name) {
  const std::string before = "\n  -" + name + " ", after = "\n      --" + name + " ";
  const size_t at = text.find(before);
  if (at == std::string::npos) return text;
  text.replace(at, before.size(), after);
  const size_t gap = text.find("   ", at + after.size());
  const size_t added = after.size() - before.size();
  if (gap != std::string::npos)
    text.erase(gap, std::min(added, text.find_first_not_of(' ', gap) - gap - 2));
  return text;
}

std::string help_text(const cxxopts::Options& options, const Fields& fields,
                      const Program& program) {
  std::vector<std::string> groups;
  for (const Fields::Field& f : fields.all()) {
    if (std::find(groups.begin(), groups.end(), f.group) == groups.end()) groups.push_back(f.group);
  }
  groups.push_back("Other");
  std::string text = options.help(groups);
  for (const Fields::Field& f : fields.all()) {
    if (f.name.size() == 1) text = two_dashes(std::move(text), f.name);
  }
  if (!program.examples.empty()) text += "\nExamples:\n" + program.examples;
  return text;
}

/// The text that Field::set understands for a value that Field::json returned.
std::string to_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump();
  std::vector<std::string> parts;
  for (const Json& item : value) parts.push_back(to_text(item));
  return fmt::format("{}", fmt::join(parts, ","));
}

std::string text_of(const cxxopts::OptionValue& value, const Fields::Field& f) {
  if (f.flag) return value.as<bool>() ? "true" : "false";
  if (!f.list) return value.as<std::string>();
  return fmt::format("{}", fmt::join(value.as<std::vector<std::string>>(), ","));
}

void refuse_unknown(const Fields& fields, const Program& program, const std::string& arg) {
  const std::string help = hint(program.name + " --help lists all flags");
  if (arg.rfind('-', 0) != 0 || arg == "-") {
    throw Error(str("unexpected argument '", arg, "'", help), "cli");
  }
  const std::string flag = arg.substr(0, arg.find('='));
  std::vector<std::string> names{"--help", "--version"};
  for (const Fields::Field& f : fields.all()) names.push_back("--" + f.name);
  const std::string near = nearest(flag, names);
  throw Error(
      str("unknown flag '", flag, "'", near.empty() ? "" : ", did you mean " + near + "?", help),
      "cli");
}

}  // namespace

void Fields::operator()(bool& value, const std::string& name, const std::string& help) {
  fields_.push_back({group_, name, help, "", "", true,
                     [&value, name](const std::string& text) {
                       if (text != "true" && text != "false") refuse(name, text, "true or false");
                       value = text == "true";
                     },
                     [&value] { return Json(value); }});
}

void Fields::operator()(int64_t& value, const std::string& name, const std::string& help,
                        const Rule& rule) {
  fields_.push_back({group_, name, help, "N", fmt::format("{}", value), false,
                     [&value, name, rule](const std::string& text) {
                       value = parse_number<int64_t>(name, text, rule);
                     },
                     [&value] { return Json(value); }});
}

void Fields::operator()(float& value, const std::string& name, const std::string& help,
                        const Rule& rule) {
  fields_.push_back({group_, name, help, "X", fmt::format("{}", value), false,
                     [&value, name, rule](const std::string& text) {
                       value = parse_number<float>(name, text, rule);
                     },
                     [&value] { return json_number(value); }});
}

void Fields::operator()(std::string& value, const std::string& name, const std::string& help,
                        const Rule& rule) {
  const auto set = [&value, name, rule](const std::string& text) {
    const auto& known = rule.one_of;
    const bool ends_so = !rule.or_ending.empty() && text.ends_with(rule.or_ending);
    if (!text.empty() && !known.empty() && !ends_so &&
        std::find(known.begin(), known.end(), text) == known.end()) {
      refuse(name, text, fmt::format("one of {}", fmt::join(known, ", ")));
    }
    value = text;
  };
  fields_.push_back(
      {group_, name, help, rule.placeholder, value, false, set, [&value] { return Json(value); }});
}

void Fields::operator()(std::vector<int64_t>& value, const std::string& name,
                        const std::string& help, const Rule& rule) {
  const auto set = [&value, name, rule](const std::string& text) {
    std::vector<int64_t> numbers;
    if (!text.empty()) {
      for (const std::string& part : split(text, ',')) {
        numbers.push_back(parse_number<int64_t>(name, part, rule));
      }
    }
    value = numbers;
  };
  fields_.push_back({group_, name, help, "N,N,...", fmt::format("{}", fmt::join(value, ",")), false,
                     set, [&value] { return Json(value); }});
}

void Fields::operator()(std::vector<std::string>& value, const std::string& name,
                        const std::string& help, const Rule& rule) {
  const auto set = [&value](const std::string& text) {
    value = text.empty() ? std::vector<std::string>{} : split(text, ',');
  };
  fields_.push_back({group_, name, help, rule.placeholder, "", false, set,
                     [&value] { return Json(value); }, /*list=*/true});
}

Given parse(const Fields& fields, const Program& program, int argc, char** argv) {
  cxxopts::Options options = describe(fields, program);
  const std::vector<std::string> args = normalize(argc, argv);
  std::vector<const char*> pointers;
  for (const std::string& a : args) pointers.push_back(a.c_str());
  Given given;
  try {
    const cxxopts::ParseResult result =
        options.parse(static_cast<int>(pointers.size()), pointers.data());
    given.leave = result.count("help") + result.count("version") > 0;
    if (result.count("help")) {
      fmt::print("{}", help_text(options, fields, program));
    } else if (result.count("version")) {
      fmt::print("{}\n", version_line());
    }
    if (given.leave) return given;
    for (const std::string& arg : result.unmatched()) {
      if (program.rest.empty() || arg.rfind('-', 0) == 0) refuse_unknown(fields, program, arg);
      given.rest.push_back(arg);
    }
    for (const Fields::Field& f : fields.all()) {
      const size_t count = result.count(f.name);
      PARE_CHECK(count < 2 || f.list, "--", f.name, " is given ", count, " times");
      if (count == 0) continue;
      const std::string text = text_of(result[f.name], f);
      PARE_CHECK(text.rfind("--", 0) != 0, "--", f.name, " needs a value, got the flag '", text,
                 "'");
      f.set(text);
      given.flags.insert(f.name);
    }
  } catch (const cxxopts::exceptions::exception& e) {
    throw Error(str(e.what(), hint(program.name + " --help lists all flags")), "cli");
  }
  return given;
}

void inherit(const Fields& fields, const Json& saved, const Given& given, const std::string& who,
             const Exceptions& exceptions) {
  for (const Fields::Field& f : fields.all()) {
    if (exceptions.skip.count(f.name) > 0 || !saved.contains(f.name)) continue;
    const Json& value = saved.at(f.name);
    if (!given.has(f.name)) {
      f.set(to_text(value));
    } else if (exceptions.may_differ.count(f.name) == 0) {
      PARE_CHECK(f.json() == value, "--", f.name, ": got '", to_text(f.json()), "', but ", who,
                 " '", to_text(value), "'");
    }
  }
}

std::string nearest(const std::string& text, const std::vector<std::string>& candidates) {
  std::string best;
  size_t least = std::max<size_t>(2, text.size() / 3) + 1;
  for (const std::string& c : candidates) {
    const size_t n = edits(text, c);
    if (n < least) least = n, best = c;
  }
  return best;
}

std::string version_line() { return fmt::format("pare {} (commit {})", kVersion, kCommit); }

int run(const std::function<int()>& body) {
  try {
    return body();
  } catch (const std::exception& e) {
    std::fflush(stdout);
    fmt::print(stderr, "pare: {}\n", e.what());
    return 1;
  }
}

}  // namespace pare::cli
