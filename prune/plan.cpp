#include "prune/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <ostream>

#include "nn/nearest.h"
#include "nn/text.h"

namespace pare::prune {

int64_t Plan::channels() const {
  return std::accumulate(layers.begin(), layers.end(), int64_t{0},
                         [](int64_t sum, const Layer& l) { return sum + l.channels; });
}

int64_t Plan::kept() const {
  return std::accumulate(layers.begin(), layers.end(), int64_t{0},
                         [](int64_t sum, const Layer& l) { return sum + l.kept(); });
}

namespace {

/// "12.3 M -> 6.1 M (-50.4 %)"
std::string change(double before, double after) {
  const auto scaled = [](double v) {
    return v >= 1e6 ? fmt::format("{:.2f} M", v / 1e6) : fmt::format("{:.1f} k", v / 1e3);
  };
  const double less = before > 0 ? 100 * (1 - after / before) : 0;
  return fmt::format("{} -> {} (-{:.1f} %)", scaled(before), scaled(after), less);
}

/// From the times of layers, not of the network.
std::string expected_time(const Plan& plan) {
  const double before = plan.before.seconds, after = plan.after.seconds;
  return fmt::format("time       {:.2f} ms -> {:.2f} ms (-{:.1f} %), as expected from its layers\n",
                     1e3 * before, 1e3 * after, 100 * (1 - after / before));
}

/// "conv1, conv2 and 7 more"
std::string shortened(const std::string& names) {
  constexpr int kShown = 2;
  size_t end = 0;
  for (int shown = 0; shown < kShown && end != std::string::npos; ++shown) {
    end = names.find(',', end + 1);
  }
  if (end == std::string::npos) return names;
  const auto more = std::count(names.begin() + static_cast<std::ptrdiff_t>(end), names.end(), ',');
  return names.substr(0, end) + fmt::format(" and {} more", more);
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Plan& plan) {
  std::vector<std::vector<std::string>> rows{{"layer", "channels", "stay", "tied with", ""}};
  for (const Plan::Layer& l : plan.layers) {
    rows.push_back(
        {l.name, std::to_string(l.channels), std::to_string(l.kept()), shortened(l.tied), l.note});
  }
  rows.push_back({"total", std::to_string(plan.channels()), std::to_string(plan.kept()), "", ""});
  return out << nn::columns(rows) << "parameters " << change(plan.before.params, plan.after.params)
             << "\nMACs       " << change(plan.before.macs, plan.after.macs) << "\nbytes      "
             << change(plan.before.bytes, plan.after.bytes) << "\n"
             << (plan.before.seconds > 0 ? expected_time(plan) : "");
}

namespace {

[[noreturn]] void fail_name(const std::string& name, const Structure& s) {
  const std::string near = nn::nearest(name, s.names);
  throw Error(str("prune: the plan is of another model: this one has no channels made by ", name,
                  near.empty() ? "" : ". Did you mean " + near + "?",
                  hint("`pare info --graph channels` lists the layers of a model")),
              "keep_of");
}

/// Takes one layer of a plan into `keep`.
void take(const Plan::Layer& l, const Structure& s, Keep& keep) {
  const int g = s.find(l.name);
  if (g < 0) fail_name(l.name, s);
  const std::vector<int>& units = s.group(g).units;
  const auto count = static_cast<int64_t>(units.size());
  PARE_CHECK(l.channels == count, "prune: the plan is of another model: it has ", l.channels,
             " channels for ", l.name, ", the model ", count);
  PARE_CHECK(!l.keep.empty(), "prune: ", l.name, " would be left without channels",
             hint("keep at least one"));
  const bool sorted = std::adjacent_find(l.keep.begin(), l.keep.end(), [](int64_t a, int64_t b) {
                        return a >= b;
                      }) == l.keep.end();
  PARE_CHECK(sorted && l.keep.front() >= 0 && l.keep.back() < count, "prune: ", l.name,
             ": the channels to keep must ascend from 0 to ", count - 1);
  const std::string& because = s.group(g).kept_because;
  PARE_CHECK(l.kept() == count || because.empty(), "prune: ", l.name,
             ": its channels cannot be removed: ", because);
  for (int u : units) keep[static_cast<size_t>(u)] = false;
  for (int64_t i : l.keep) {
    keep[static_cast<size_t>(units[static_cast<size_t>(i)])] = true;
  }
}

}  // namespace

Keep keep_of(const Plan& plan, const Structure& s) {
  Keep keep = s.keep_all();
  for (const Plan::Layer& l : plan.layers) take(l, s, keep);
  return keep;
}

Plan completed(const Plan& plan, const Structure& s) {
  const Keep keep = keep_of(plan, s);
  const CostModel cost(s);
  Plan full{.method = plan.method, .layers = {}, .before = cost(s.keep_all()), .after = cost(keep)};
  for (int g = 0; g < s.groups(); ++g) {
    if (s.name(g).empty()) continue;
    const std::vector<int>& units = s.group(g).units;
    Plan::Layer l{.name = s.name(g), .channels = static_cast<int64_t>(units.size())};
    for (size_t i = 0; i < units.size(); ++i) {
      if (keep[static_cast<size_t>(units[i])]) l.keep.push_back(static_cast<int64_t>(i));
    }
    l.tied = s.tied(g);
    const auto known = std::find_if(plan.layers.begin(), plan.layers.end(),
                                    [&](const Plan::Layer& p) { return p.name == l.name; });
    l.note = s.group(g).kept_because;
    if (l.note.empty() && known != plan.layers.end()) l.note = known->note;
    full.layers.push_back(std::move(l));
  }
  return full;
}

}  // namespace pare::prune
