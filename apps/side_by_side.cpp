#include "apps/side_by_side.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/autograd.h"
#include "core/ops.h"

namespace pare {

Tensor Side::run(const Batch& batch) {
  const auto began = std::chrono::steady_clock::now();
  const Tensor logits = model(batch.x);
  logits.data();
  seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  score.add(logits, batch.y, cross_entropy(logits, batch.y).item());
  return logits;
}

void Gap::add(const Tensor& before, const Tensor& after) {
  const int64_t classes = before.dim(1);
  for (int64_t i = 0; i < before.dim(0); ++i) {
    const float *a = before.data() + i * classes, *b = after.data() + i * classes;
    for (int64_t c = 0; c < classes; ++c) {
      difference = std::max(difference, std::fabs(double{a[c]} - b[c]));
      largest = std::max(largest, std::fabs(double{a[c]}));
    }
    same_class += std::max_element(a, a + classes) - a == std::max_element(b, b + classes) - b;
  }
}

Gap compare(Side& before, Side& after, BatchSource& batches, Console& console) {
  const nn::EvalMode eval_before(before.model), eval_after(after.model);
  const NoGrad guard;
  Gap gap;
  batches.start(0);
  for (bool swap = false; const Batch& batch : batches) {
    if (after.score.samples == 0) {  // neither pays for the first use of memory and kernels
      for (Side* side : {&before, &after}) side->model(batch.x).data();
    }
    const Tensor first = (swap ? after : before).run(batch);
    const Tensor second = (swap ? before : after).run(batch);
    gap.add(swap ? second : first, swap ? first : second);
    swap = !swap;
    console.status(fmt::format("{} of {} images", after.score.samples, batches.samples()));
  }
  return gap;
}

std::vector<std::vector<std::string>> comparison(const Side& before, const Side& after,
                                                 const nn::Summary& was, const nn::Summary& is) {
  const auto percent = [](double value) { return fmt::format("{:.2f} %", value); };
  const auto millions = [](int64_t n) {
    return fmt::format("{:.1f} M", static_cast<double>(n) / 1e6);
  };
  return {
      {"", "before", "after"},
      {"parameters", format_count(was.params), format_count(is.params)},
      {"MACs", millions(was.macs), millions(is.macs)},
      {"stored", format_bytes(was.bytes_quantized), format_bytes(is.bytes_quantized)},
      {"top-1", percent(before.score.top1()), percent(after.score.top1())},
      {"top-5", percent(before.score.top5()), percent(after.score.top5())},
      {"loss", fmt::format("{:.4f}", before.score.loss()),
       fmt::format("{:.4f}", after.score.loss())},
      {"images/s", fmt::format("{:.0f}", before.speed()), fmt::format("{:.0f}", after.speed())}};
}

Json side_json(const Side& s, const nn::Summary& summary) {
  return {{"top1", s.score.top1()},         {"top5", s.score.top5()},
          {"loss", s.score.loss()},         {"seconds", s.seconds},
          {"images_per_second", s.speed()}, {"params", summary.params},
          {"macs", summary.macs},           {"bytes_quantized", summary.bytes_quantized}};
}

}  // namespace pare
