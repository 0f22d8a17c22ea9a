#include <algorithm>
#include <charconv>

#include "nn/glob.h"
#include "prune/select.h"

namespace pare::prune {

void check(const PlanOptions& o, const Structure& s) {
  const auto share = [](const char* what, double value) {
    PARE_CHECK(value >= 0 && value < 1, "prune: ", what, " must be in 0..1 without 1, got ", value,
               hint("every layer keeps some channels"));
  };
  share("percent", o.percent);
  PARE_CHECK(!o.latency || (o.seconds && o.full_seconds > 0),
             "prune: a target for latency needs times of layers", hint("prune/latency.h"));
  for (const auto& target : {o.macs, o.params, o.bytes, o.latency}) {
    PARE_CHECK(!target || (*target > 0 && *target <= 1),
               "prune: a target must be above 0 and at most 1, got ", *target);
  }
  PARE_CHECK(o.min_channels >= 1, "prune: min_channels must be at least 1, got ", o.min_channels);
  PARE_CHECK(o.regular >= 1, "prune: regular must be at least 1, got ", o.regular);
  for (const LayerShare& l : o.layers) {
    share(("the share of " + l.pattern).c_str(), l.percent);
    bool used = false;
    for (const nn::Channels::Group& g : s.channels.groups) {
      for (int maker : g.makers) used = used || nn::glob(l.pattern, s.graph[maker].name);
    }
    PARE_CHECK(used, "prune: no layer is called ", l.pattern,
               hint("`pare info --graph channels` lists them; * stands for anything"));
  }
}

std::vector<LayerShare> parse_shares(const std::string& text) {
  std::vector<LayerShare> shares;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('+', at), text.size());
    const std::string entry = text.substr(at, end - at);
    const size_t colon = entry.rfind(':');
    LayerShare l{entry.substr(0, colon)};
    const std::string number = colon == std::string::npos ? "" : entry.substr(colon + 1);
    const auto read = std::from_chars(number.data(), number.data() + number.size(), l.percent);
    PARE_CHECK(!l.pattern.empty() && !number.empty() && read.ec == std::errc{} &&
                   read.ptr == number.data() + number.size(),
               "prune: expected LAYER:SHARE, got '", entry, "'",
               hint("such as conv1:0+layer3.*:0.3"));
    shares.push_back(std::move(l));
    at = end + 1;
  }
  return shares;
}

}  // namespace pare::prune
