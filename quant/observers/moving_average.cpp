// Extremes of an activation, averaged over samples: v = r v + (1 - r) sample, the first is copied.

#include "quant/registry.h"

namespace pare::quant {

namespace {

struct MovingAverage final : Observer {
  explicit MovingAverage(const ObserverSetup& setup)
      : Observer(setup), ratio_(static_cast<float>(setup.options.number("ema"))) {}
  std::vector<Interval> ranges(const Target&) const override { return average_; }

 private:
  void add(const Tensor& x, const std::vector<Interval>&) override {
    const int64_t samples = x.dim(0), each = x.numel() / samples;
    for (int64_t n = 0; n < samples; ++n) {
      const Tensor one = Tensor::of({x.data() + n * each, static_cast<size_t>(each)}, {each});
      const Interval now = extremes(one, QuantShare::tensor)[0];
      if (average_.empty()) average_ = {now};
      Interval& a = average_[0];
      a = {ratio_ * a.min + (1 - ratio_) * now.min, ratio_ * a.max + (1 - ratio_) * now.max};
    }
  }

  float ratio_;
  std::vector<Interval> average_;
};

std::string refuse(const QuantizerSpec& s) {
  if (s.role == Role::weight) return "a weight is one sample: there is nothing to average";
  if (s.options.count("per") && s.is("per", "channel")) {
    return "it averages the range of a whole activation: say per=tensor";
  }
  return {};
}

}  // namespace

namespace parts {
ObserverInfo moving_average() {
  return {.name = "moving_average",
          .summary = "extremes averaged over samples",
          .options = {{.name = "ema",
                       .help = "what an average keeps of itself at each sample",
                       .min = 0,
                       .max = 1,
                       .usual = "0.9"}},
          .refuse = refuse,
          .make = [](const ObserverSetup& s) { return std::make_shared<MovingAverage>(s); }};
}
}  // namespace parts

}  // namespace pare::quant
