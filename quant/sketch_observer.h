#pragma once
// Observers that need more than extremes: they keep a sketch of each group's values.

#include <vector>

#include "core/parallel.h"
#include "quant/observer.h"
#include "quant/sketch.h"

namespace pare::quant {

struct SketchObserver : Observer {
  explicit SketchObserver(const ObserverSetup& setup)
      : Observer(setup), sketches_(static_cast<size_t>(setup.groups), sketch_for(setup.groups)) {}

  std::vector<Interval> ranges(const Target& target) const override {
    std::vector<Interval> all(sketches_.size());
    parallel_for(static_cast<int64_t>(all.size()), 1, [&](Range r) {
      for (int64_t g = r.begin; g < r.end; ++g) {
        const size_t i = static_cast<size_t>(g);
        all[i] = range(sketches_[i], target);
      }
    });
    return all;
  }

 protected:
  virtual Interval range(const Sketch& sketch, const Target& target) const = 0;

 private:
  void add(const Tensor& x, const std::vector<Interval>&) override {
    for_each_value(x, [this](size_t g, float v) { sketches_[g].add(v); });
  }
  std::vector<Sketch> sketches_;
};

}  // namespace pare::quant
