// Plans as files:
//
//   method: slimming
//   layers:
//     layer1.0.conv1: {channels: 16, keep: [0-3, 7, 9-15]}

#include <charconv>
#include <limits>

#include "nn/yaml.h"
#include "prune/plan.h"

namespace pare::prune {

namespace {

/// [0, 1, 2, 5] -> "0-2, 5"
std::string ranges(const std::vector<int64_t>& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size();) {
    size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    text += text.empty() ? "" : ", ";
    text += std::to_string(numbers[i]);
    if (last > i) text += "-" + std::to_string(numbers[last]);
    i = last + 1;
  }
  return text;
}

/// "7" or "0-3", of numbers below `count`.
void read_range(const nn::Yaml& item, int64_t count, std::vector<int64_t>& numbers) {
  const std::string& text = item.text();
  const char* const end = text.data() + text.size();
  int64_t first = -1, last = -1;
  auto read = std::from_chars(text.data(), end, first);
  last = first;
  if (read.ec == std::errc{} && read.ptr != end && *read.ptr == '-') {
    read = std::from_chars(read.ptr + 1, end, last);
  }
  const bool whole = read.ec == std::errc{} && read.ptr == end;
  if (!whole || first < 0 || last < first || last >= count) {
    item.fail(
        str("expected a channel or a range such as 0-3, below ", count, ", got '", text, "'"));
  }
  for (int64_t i = first; i <= last; ++i) numbers.push_back(i);
}

Plan::Layer read_layer(const std::string& name, const nn::Yaml& entry) {
  entry.check_keys({"channels", "keep"});
  Plan::Layer l{.name = name};
  l.channels = entry.at("channels").integer(1, std::numeric_limits<int32_t>::max());
  for (const nn::Yaml& item : entry.at("keep").items()) read_range(item, l.channels, l.keep);
  for (size_t i = 1; i < l.keep.size(); ++i) {
    if (l.keep[i] <= l.keep[i - 1]) entry.at("keep").fail("channels must ascend");
  }
  return l;
}

Plan read(const nn::Yaml& file) {
  file.check_keys({"method", "layers"});
  Plan plan{.method = file.find("method") ? file.at("method").text() : "", .layers = {}};
  for (const nn::Yaml::Entry& e : file.at("layers").entries()) {
    plan.layers.push_back(read_layer(e.key, e.value));
  }
  return plan;
}

}  // namespace

std::string to_yaml(const Plan& plan) {
  std::string text = plan.method.empty() ? "" : "method: " + plan.method + "\n";
  text += plan.layers.empty() ? "layers: {}\n" : "layers:\n";
  for (const Plan::Layer& l : plan.layers) {
    text += str("  \"", l.name, "\": {channels: ", l.channels, ", keep: [", ranges(l.keep), "]}\n");
  }
  return text;
}

Plan load_plan(const std::string& path) { return read(nn::Yaml::load(path)); }

Plan parse_plan(const std::string& yaml, const std::string& name) {
  return read(nn::Yaml::parse(yaml, name));
}

}  // namespace pare::prune
