#pragma once
// Observers: they look at data, batch by batch in bounded memory, and say which range to quantize.
// A new one is a file in quant/observers/ that registers a name (quant/registry.h).

#include <memory>
#include <string>
#include <vector>

#include "core/ops.h"
#include "quant/grid.h"
#include "quant/options.h"

namespace pare::quant {

enum class Role : uint8_t { weight, activation };

/// What the range is for.
struct Target {
  Grid grid;
  bool affine = false;
};

/// Every scale has its own range: one group per scale.
struct ObserverSetup {
  Role role = Role::activation;
  QuantShare share = QuantShare::tensor;
  int64_t groups = 1;
  Options options = {};  // of the observer, complete
};

class Observer {
 public:
  explicit Observer(const ObserverSetup& setup);
  virtual ~Observer() = default;

  /// One batch. Refuses NaN and infinities.
  void observe(const Tensor& x);
  /// The smallest and largest values so far.
  const std::vector<Interval>& seen() const { return seen_; }
  /// The range of each group for this target.
  virtual std::vector<Interval> ranges(const Target& target) const = 0;

 protected:
  /// `batch` are the extremes of x.
  virtual void add(const Tensor& x, const std::vector<Interval>& batch) = 0;
  /// f(group, value) for every value of x, in memory order within a group.
  template <class F>
  void for_each_value(const Tensor& x, F&& f) const;

  ObserverSetup setup_;
  std::vector<Interval> seen_;  // empty before the first batch
};

/// The smallest and largest value of each group.
std::vector<Interval> extremes(const Tensor& x, QuantShare share);

template <class F>
void Observer::for_each_value(const Tensor& x, F&& f) const {
  const float* p = x.data();
  const int64_t groups = setup_.groups, each = x.numel() / groups;
  const bool columns = setup_.share == QuantShare::channel;
  for (int64_t g = 0; g < groups; ++g) {
    const float* from = columns ? p + g : p + g * each;
    const int64_t stride = columns ? groups : 1;
    for (int64_t i = 0; i < each; ++i) f(static_cast<size_t>(g), from[i * stride]);
  }
}

}  // namespace pare::quant
