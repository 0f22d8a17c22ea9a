#include "quant/sketch.h"

#include <algorithm>
#include <cmath>

namespace pare::quant {

Sketch sketch_for(int64_t groups) {
  constexpr int64_t kValues = 1 << 17, kBins = 1 << 15, kFewest = 1 << 11;
  return {std::max(kFewest, kValues / groups), std::max(kFewest, kBins / groups / 4 * 4)};
}

void Sketch::add(float value) {
  if (count_ == 0) min_ = max_ = value;
  min_ = std::min(min_, value);
  max_ = std::max(max_, value);
  sum_ += static_cast<double>(value);
  ++count_;
  if (value == 0) {
    ++zeros_;
    return;
  }
  if (!counts_.empty()) return count(value);
  values_.push_back(value);
  if (static_cast<int64_t>(values_.size()) > capacity_) start_counting();
}

void Sketch::start_counting() {
  const double largest = std::max(-double{min_}, double{max_});
  limit_ = largest > 0 ? std::exp2(std::ceil(std::log2(largest))) : 1.0;
  counts_.assign(static_cast<size_t>(bins_), 0);
  for (float v : values_) count(v);
  values_ = {};
}

void Sketch::count(float value) {
  while (std::fabs(double{value}) > limit_) {
    // [-l, l] becomes the middle half of [-2l, 2l], each pair of bins one.
    std::vector<int64_t> wider(counts_.size(), 0);
    for (size_t i = 0; i < counts_.size(); ++i) wider[counts_.size() / 4 + i / 2] += counts_[i];
    counts_ = std::move(wider);
    limit_ *= 2;
  }
  const double position = (double{value} + limit_) / (2.0 * limit_) * static_cast<double>(bins_);
  const int64_t bin = std::min(static_cast<int64_t>(position), bins_ - 1);
  ++counts_[static_cast<size_t>(bin)];
}

std::vector<Sketch::Item> Sketch::items() const {
  std::vector<Item> all;
  const auto add = [&](float value, double weight) {
    const bool passes_zero = zeros_ > 0 && value > 0 && (all.empty() || all.back().value < 0);
    if (passes_zero) all.push_back({0.0f, static_cast<double>(zeros_)});
    all.push_back({value, weight});
  };
  std::vector<float> sorted = values_;
  std::sort(sorted.begin(), sorted.end());
  for (float v : sorted) add(v, 1.0);
  const double width = 2.0 * limit_ / static_cast<double>(bins_);
  for (size_t i = 0; i < counts_.size(); ++i) {
    if (counts_[i] == 0) continue;
    const double centre = (static_cast<double>(i) + 0.5) * width - limit_;
    add(std::clamp(static_cast<float>(centre), min_, max_), static_cast<double>(counts_[i]));
  }
  const bool at_the_end = zeros_ > 0 && (all.empty() || all.back().value < 0);
  if (at_the_end) all.push_back({0.0f, static_cast<double>(zeros_)});
  return all;
}

}  // namespace pare::quant
