// Where LSQ starts.    Esser et al., ICLR 2020, arXiv:1902.08153
//   s = 2 mean |x| / sqrt(hi)

#include <algorithm>
#include <cmath>

#include "quant/registry.h"

namespace pare::quant {

namespace {

struct Magnitude final : Observer {
  explicit Magnitude(const ObserverSetup& setup)
      : Observer(setup), sum_(static_cast<size_t>(setup.groups)) {}
  /// The range that has this step.
  std::vector<Interval> ranges(const Target& target) const override {
    const Grid& g = target.grid;
    const double steps = g.is_signed() ? (double{g.hi} - g.lo) / 2 : double{g.hi};
    std::vector<Interval> all;
    for (size_t k = 0; k < sum_.size(); ++k) {
      const double mean = sum_[k] / static_cast<double>(std::max<int64_t>(count_, 1));
      const auto reach = static_cast<float>(2 * mean / std::sqrt(double{g.hi}) * steps);
      all.push_back({seen_[k].min < 0 ? -reach : 0.0f, reach});
    }
    return all;
  }

 private:
  void add(const Tensor& x, const std::vector<Interval>&) override {
    for_each_value(x, [this](size_t g, float v) { sum_[g] += std::fabs(double{v}); });
    count_ += x.numel() / setup_.groups;
  }
  std::vector<double> sum_;
  int64_t count_ = 0;  // of each group
};

}  // namespace

namespace parts {
ObserverInfo magnitude() {
  return {.name = "magnitude",
          .summary = "from the mean of |x|, as LSQ starts, arXiv:1902.08153",
          .make = [](const ObserverSetup& s) { return std::make_shared<Magnitude>(s); }};
}
}  // namespace parts

}  // namespace pare::quant
