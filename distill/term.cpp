#include "distill/term.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "nn/nearest.h"
#include "nn/text.h"

namespace pare::distill {

// The files of distill/losses, one PARE_TERM(name) each; written by CMake.
namespace parts {
#define PARE_TERM(name) TermInfo name();
#include "distill_parts.inc"
#undef PARE_TERM
}  // namespace parts

namespace {

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> words{""};
  for (const char c : text) {
    if (c == at) {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

bool read_number(const std::string& word, double& value) {
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc() && end == word.data() + word.size() && std::isfinite(value);
}

std::string join(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : ", ") + word;
  return all;
}

std::string number_text(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

std::vector<Place> parse_places(const std::string& word, const std::string& text) {
  std::vector<Place> places;
  for (const std::string& one : split(word, '+')) {
    const std::vector<std::string> sides = split(one, '>');
    PARE_CHECK(sides.size() <= 2 && !sides.front().empty() && !sides.back().empty(), "distill: '",
               text, "': got place '", one, "', expected a module path or STUDENT>TEACHER");
    places.push_back({sides.front(), sides.back()});
  }
  return places;
}

void check(const TermSpec& spec, const TermInfo& info, const std::string& text) {
  for (size_t i = 0; i < info.numbers.size(); ++i) {
    const Number& n = info.numbers[i];
    PARE_CHECK(spec.numbers[i] >= n.min, "distill: '", text, "': ", n.name, " is ", spec.numbers[i],
               ", expected at least ", n.min);
  }
  const int places = static_cast<int>(spec.places.size());
  PARE_CHECK(places >= info.min_places && places <= info.max_places, "distill: '", text, "': got ",
             places, " places, expected ",
             info.min_places == info.max_places ? str(info.min_places)
                                                : str(info.min_places, " to ", info.max_places),
             hint(str(info.name, " compares ", info.max_places == 0 ? "logits" : "features",
                      "; `pare info --graph ops` shows the paths of a model")));
}

}  // namespace

const std::vector<TermInfo>& terms() {
  static const std::vector<TermInfo> all = [] {
    std::vector<TermInfo> list;
#define PARE_TERM(name) list.push_back(parts::name());
#include "distill_parts.inc"
#undef PARE_TERM
    std::sort(list.begin(), list.end(),
              [](const TermInfo& a, const TermInfo& b) { return a.name < b.name; });
    return list;
  }();
  return all;
}

const TermInfo& find_term(const std::string& name) {
  std::vector<std::string> names;
  for (const TermInfo& info : terms()) {
    if (info.name == name) return info;
    names.push_back(info.name);
  }
  const std::string near = nn::nearest(name, names);
  PARE_CHECK(false, "distill: there is no loss '", name, "'",
             near.empty() ? "" : ", did you mean " + near + "?", hint("known are " + join(names)));
}

TermSpec parse_term(const std::string& text) {
  const std::vector<std::string> words = split(text, ':');
  const TermInfo& info = find_term(words.front());
  TermSpec spec{info.name, {}, {}};
  for (const Number& n : info.numbers) spec.numbers.push_back(n.usual);
  size_t next = 0;
  for (size_t i = 1; i < words.size(); ++i) {
    double value = 0;
    if (read_number(words[i], value)) {
      PARE_CHECK(next < spec.numbers.size(), "distill: '", text, "': '", words[i],
                 "' is one number too many, ", info.name, " has ", spec.numbers.size());
      spec.numbers[next++] = value;
      continue;
    }
    PARE_CHECK(spec.places.empty(), "distill: '", text, "': got '", words[i],
               "' after the places, expected their end", hint("places are joined by +"));
    spec.places = parse_places(words[i], text);
  }
  check(spec, info, text);
  return spec;
}

std::string to_string(const TermSpec& spec) {
  std::string text = spec.name;
  for (const double n : spec.numbers) text += ":" + number_text(n);
  for (size_t i = 0; i < spec.places.size(); ++i) {
    const Place& p = spec.places[i];
    text += (i == 0 ? ":" : "+") + p.student;
    if (p.teacher != p.student) text += ">" + p.teacher;
  }
  return text;
}

std::string describe_terms() {
  std::vector<std::vector<std::string>> rows;
  for (const TermInfo& info : terms()) {
    std::string form = info.name, help;
    for (const Number& n : info.numbers) {
      form += ":" + n.name;
      help += (help.empty() ? "" : ", ") + n.name + " " + number_text(n.usual);
    }
    if (info.max_places > 0) form += info.max_places > 1 ? ":PLACE+..." : ":PLACE";
    rows.push_back({form, info.summary + " (" + help + ")"});
  }
  return nn::columns(rows);
}

}  // namespace pare::distill
