#include "nn/diagnose.h"

#include <algorithm>
#include <cmath>

#include "core/autograd.h"

namespace pare::nn {

namespace {

int64_t count_non_finite(const Tensor& t) {
  const auto values = t.span();
  return std::count_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
}

/// "name [shape]: 3 of 64 values are not finite", or nothing.
std::string report(const std::string& name, const Tensor& t) {
  if (!t) return {};
  const int64_t bad = count_non_finite(t);
  if (bad == 0) return {};
  return str("\n  ", name, " ", t.shape(), ": ", bad, " of ", t.numel(), " values are not finite");
}

/// Stands in for a layer and reports the first output that is not finite. Its visit() shows the
/// fields of the layer inside as its own, so paths stay what they were.
struct Watch final : Module {
  Watch(Layer layer, std::string where, std::string* first)
      : inner(std::move(layer)), name(std::move(where)), found(first) {}

  Tensor forward(const Tensor& x) override {
    const Tensor y = inner(x);
    if (found->empty()) *found = report(name.empty() ? "output" : "output of " + name, y);
    return y;
  }
  void visit(Visitor& v) override { inner.visit(v); }
  std::string describe() const override { return inner->describe(); }

  Layer inner;
  std::string name;
  std::string* found;
};

std::string first_bad_output(const Layer& model, const Tensor& x) {
  std::string found;
  Layer copy = model;
  for_each_layer(copy, [&](const std::string& path, Layer& layer) {
    layer = Watch(std::move(layer), path, &found);
  });
  NoGrad guard;
  copy(x);
  return found;
}

std::string first_bad(const std::vector<NamedTensor>& tensors) {
  for (const auto& [name, tensor] : tensors) {
    if (const std::string line = report(name, tensor); !line.empty()) return line;
  }
  return {};
}

std::string first_bad_gradient(const std::vector<NamedTensor>& tensors) {
  for (const auto& [name, tensor] : tensors) {
    const std::string line = report("gradient of " + name, tensor.grad());
    if (!line.empty()) return line;
  }
  return {};
}

}  // namespace

std::string find_non_finite(const Layer& model, const Batch& batch) {
  std::string lines = report("batch", batch.x);
  if (lines.empty()) lines = first_bad_output(model, batch.x);
  lines += first_bad(parameters(model)) + first_bad(buffers(model));
  lines += first_bad_gradient(parameters(model));
  return lines;
}

}  // namespace pare::nn
