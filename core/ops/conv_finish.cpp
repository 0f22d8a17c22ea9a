// What follows a convolution, as part of it, where no gradient is asked for: relu, a residual sum
// and an activation quantizer are applied to its blocks while these are in cache. Batch norm does
// so for its readers; this is for the convolutions it was folded into.

#include <memory>
#include <optional>

#include "core/autograd.h"
#include "core/kernels/normalize.h"
#include "core/ops/conv_gather.h"
#include "core/ops/fake_quant.h"

namespace pare {

namespace {

/// f(convolution + residual), quantized or not, not computed yet.
struct Finished final : Deferred {
  std::shared_ptr<const Gather> conv;
  Tensor ones, zeros;  // [channels]: the kernel is batch norm's
  Tensor residual;
  Pointwise f;
  std::optional<FakeQuant> quant;

  void run(float* y) const override {
    const int64_t C = ones.numel();
    const kernels::Affine u{nullptr, residual ? residual.data() : nullptr, ones.data(),
                            zeros.data()};
    const kernels::Finish finish{f, quant ? &*quant : nullptr};
    conv->run(y, [&](const Block& b) {
      kernels::Affine at = u.at(b.first * C);
      at.x = b.values;
      kernels::normalize(at, finish, b.rows, C, b.values);
    });
  }

  Tensor then(const Pointwise& next) const override {
    using Kind = Pointwise::Kind;
    const bool levels = f.kind == Kind::relu && next.kind == Kind::quantize && !residual;
    if (quant || (f.kind != Kind::identity && !levels)) return {};
    return changed([&](Finished& work) {
      work.f = next;
      if (levels) work.f.kind = Kind::relu_quantize;
    });
  }
  Tensor plus(const Tensor& other) const override {
    const bool free = f.kind == Pointwise::Kind::identity && !quant && !residual;
    if (!free || other.shape() != shape) return {};
    return changed([&](Finished& work) { work.residual = other.detach(); });
  }
  Tensor quantized(const QuantStep& step) const override {
    // A block's sum is usually wanted as it is, too: by the next residual.
    if (quant || residual || !kernels::Finish::may_quantize(f)) return {};
    return changed([&](Finished& work) { work.quant = step.rule.q; });
  }

  template <class Change>
  Tensor changed(Change&& change) const {
    if (grad_enabled()) return {};
    const auto work = std::make_shared<Finished>(*this);
    change(*work);
    return Tensor::deferred(shape, work, {conv->x, conv->w, conv->bias, work->residual});
  }
};

/// Nothing after the convolution yet; empty where somebody may ask for gradients.
std::optional<Finished> finished(const Gather& conv) {
  if (grad_enabled() || conv.blocks() == 0) return {};
  const Shape channels = {conv.shape.dim(-1)};
  Finished work;
  work.shape = conv.shape;
  work.conv = std::make_shared<Gather>(conv);
  work.ones = Tensor::full(channels, 1), work.zeros = Tensor::zeros(channels);
  return work;
}

}  // namespace

Tensor Gather::then(const Pointwise& f) const {
  const auto work = finished(*this);
  return work ? work->then(f) : Tensor{};
}

Tensor Gather::plus(const Tensor& other) const {
  const auto work = finished(*this);
  return work ? work->plus(other) : Tensor{};
}

Tensor Gather::quantized(const QuantStep& step) const {
  const auto work = finished(*this);
  return work ? work->quantized(step) : Tensor{};
}

}  // namespace pare
