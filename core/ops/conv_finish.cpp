// What follows a convolution, as part of it, where no gradient is asked for: relu, a residual sum
// and an activation quantizer are applied to its blocks while these are in cache. Batch norm does
// so for its readers; this is for the convolutions it was folded into.

#include <memory>
#include <optional>

#include "core/autograd.h"
#include "core/kernels/arithmetic.h"
#include "core/kernels/fake_quant.h"
#include "core/kernels/pointwise.h"
#include "core/ops/conv_gather.h"
#include "core/ops/fake_quant.h"

namespace pare {

namespace {

/// f(convolution + residual), quantized or not, not computed yet.
struct Finished final : Deferred {
  std::shared_ptr<const Gather> conv;
  Tensor residual;
  Pointwise f;
  std::optional<FakeQuant> quant;

  void run(float* y) const override {
    run(y, [](const Block&) {});
  }
  int64_t blocks() const override { return conv->blocks(); }
  void run(float* y, BlockVisitor visit) const override {
    const float* r = residual ? residual.data() : nullptr;
    const int64_t C = shape.dim(-1);
    Beside reads = visit.reads();
    reads.add(r);
    const auto finish = [&](const Block& b) {
      const int64_t n = b.rows * C;
      if (r) kernels::accumulate(r + b.first * C, b.values, n);
      if (f.kind != Pointwise::Kind::identity) kernels::pointwise(f, b.values, b.values, n);
      if (quant) kernels::fake_quant(*quant, b.values, b.values, n);
      visit(b);
    };
    conv->run(y, {finish, reads});
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
    if (quant || residual) return {};
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
  Finished work;
  work.shape = conv.shape;
  work.conv = std::make_shared<Gather>(conv);
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
