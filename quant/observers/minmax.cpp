// The smallest and the largest value.

#include "quant/registry.h"

namespace pare::quant {

namespace {

struct MinMax final : Observer {
  using Observer::Observer;
  std::vector<Interval> ranges(const Target&) const override { return seen_; }

 private:
  void add(const Tensor&, const std::vector<Interval>&) override {}
};

}  // namespace

namespace parts {
ObserverInfo minmax() {
  return {.name = "minmax",
          .summary = "the smallest and the largest value",
          .make = [](const ObserverSetup& s) { return std::make_shared<MinMax>(s); }};
}
}  // namespace parts

}  // namespace pare::quant
