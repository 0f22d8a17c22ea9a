#pragma once
// Every differentiable op. Images are [N, H, W, C], conv weights [out, kh, kw, in/groups].
// An op checks its arguments, computes, and records its own backward, all in one function under
// ops/.

#include <vector>

#include "core/kernels/pointwise.h"
#include "core/rng.h"
#include "core/tensor.h"

namespace pare {

class Communicator;

// --- Arithmetic with broadcasting (sizes are matched from the back; 1 stretches).
Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);
Tensor add(const Tensor& a, float b);
Tensor mul(const Tensor& a, float b);
inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator+(const Tensor& a, float b) { return add(a, b); }
inline Tensor operator+(float a, const Tensor& b) { return add(b, a); }
inline Tensor operator-(const Tensor& a, float b) { return add(a, -b); }
inline Tensor operator*(const Tensor& a, float b) { return mul(a, b); }
inline Tensor operator*(float a, const Tensor& b) { return mul(b, a); }
inline Tensor operator-(const Tensor& a) { return mul(a, -1.0f); }
inline Tensor operator-(float a, const Tensor& b) { return add(mul(b, -1.0f), a); }
Tensor operator/(const Tensor& a, float b);
Tensor operator/(float a, const Tensor& b);

// --- Unary; formulas in kernels/pointwise-inl.h.
Tensor pointwise(const Pointwise& f, const Tensor& x);
Tensor relu(const Tensor& x);
Tensor leaky_relu(const Tensor& x, float slope = 0.01f);
Tensor relu6(const Tensor& x);
Tensor hard_swish(const Tensor& x);
Tensor silu(const Tensor& x);
Tensor gelu(const Tensor& x);  // x * Phi(x), the exact (erf) form
Tensor sigmoid(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor abs(const Tensor& x);
Tensor square(const Tensor& x);
/// dx = dy * 1[lo <= x <= hi]
Tensor clamp(const Tensor& x, float lo, float hi);
/// +1 for x >= 0, else -1; the derivative is a rule.
Tensor sign(const Tensor& x, Ste ste = Ste::clip);
/// Nearest integer; dx = dy.
Tensor round(const Tensor& x, Rounding rounding = Rounding::half_even);

// --- Uniform quantization and back; formulas of both passes in ops/fake_quant.cpp.
/// What shares a scale: the whole tensor, each index of the first axis (filters of a weight), each
/// index of the last one (channels of an activation).
enum class QuantShare : uint8_t { tensor, filter, channel };
struct FakeQuantOptions {
  float lo = 0, hi = 255;  // codes
  QuantShare share = QuantShare::tensor;
  Rounding rounding = Rounding::half_even;
  bool shift_first = false;   // round(x / s + z), not round(x / s) + z
  bool clip = false;          // `scale` is a clipping level: s = scale / hi
  Tensor min = {}, max = {};  // gradients to x pass between them only; one value per scale
  float grad_scale = 1.0f;    // of the gradients to scale and zero
};
/// scale [1], [filters] or [channels], used by magnitude; zero the same (rounded) or empty.
Tensor fake_quant(const Tensor& x, const Tensor& scale, const Tensor& zero,
                  const FakeQuantOptions& options);

/// The smallest and the largest value, no gradient; NaN if there is one. Deferred values are looked
/// at without being stored.
struct Bounds {
  float min, max;
};
Bounds bounds(const Tensor& x);

// --- Reductions. No axes means all; the result then has shape [1]. keep leaves reduced axes as
// size 1.
using Axes = std::vector<int>;
Tensor sum(const Tensor& x, const Axes& axes = {}, bool keep = false);
Tensor mean(const Tensor& x, const Axes& axes = {}, bool keep = false);
/// sum (x - mean)^2 / (n - correction)
Tensor var(const Tensor& x, const Axes& axes = {}, bool keep = false, int correction = 1);
/// The gradient goes to the first maximal element.
Tensor max(const Tensor& x, const Axes& axes = {}, bool keep = false);

// --- One scale per row (all but the last axis) and group of channels.
/// [..., groups]: the mean of |x| over each group's C / groups channels; 0 has no slope.
Tensor mean_abs(const Tensor& x, int groups = 1);
/// x [..., C], k [..., groups]: y = x times its group's k. dk = 0 where k = 0: enough where k is a
/// mean of |.|, which has no slope there.
Tensor scale_rows(const Tensor& x, const Tensor& k);

// --- Linear algebra.
Tensor matmul(const Tensor& a, const Tensor& b);  // [M, K] x [K, N]
Tensor linear(const Tensor& x, const Tensor& w,
              const Tensor& b = {});  // x [N, in], w [out, in], b [out]

// --- Convolution.
struct ConvOptions {
  Hw stride = 1, pad = 0, dilation = 1;
  int groups = 1;
  bool exact = false;  // y is the direct sum: no core/winograd.h, no core/precision.h
};
/// x [N, H, W, in], w [out, kh, kw, in/groups], b [out] or empty -> [N, OH, OW, out]
/// OH = (H + 2 pad - dilation (kh - 1) - 1) / stride + 1
Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b = {},
              const ConvOptions& options = {});

struct ConvTransposeOptions {
  Hw stride = 1, pad = 0, output_pad = 0, dilation = 1;
  int groups = 1;
};
/// The gradient of conv2d as an op. x [N, H, W, in], w [in, kh, kw, out/groups], b [out] or empty
/// OH = (H - 1) stride - 2 pad + dilation (kh - 1) + output_pad + 1
Tensor conv_transpose2d(const Tensor& x, const Tensor& w, const Tensor& b = {},
                        const ConvTransposeOptions& options = {});

// --- Normalization.
/// y = gamma (x - mean) / sqrt(var + eps) + beta over all but the last axis.
/// train: batch statistics (biased variance); running = (1 - momentum) running + momentum batch
/// (unbiased variance). eval: the running statistics. gamma and beta may be empty (1 and 0).
/// group: batch statistics are those over all its processes, in both passes.
struct BatchNormOptions {
  bool train = true;
  float momentum = 0.1f, eps = 1e-5f;
  Communicator* group = nullptr;
};
Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor& running_mean,
                  Tensor& running_var, const BatchNormOptions& options = {});
/// The same over the last axis of each row.
Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, float eps = 1e-5f);

// --- Pooling over H and W.
struct PoolOptions {
  Hw kernel = 2, stride = 2, pad = 0;
  bool ceil_mode = false;         // count windows that start inside but end outside
  bool count_include_pad = true;  // average: padding counts as zeros
};
Tensor max_pool2d(const Tensor& x, const PoolOptions& options);
Tensor avg_pool2d(const Tensor& x, const PoolOptions& options);
Tensor global_avg_pool2d(const Tensor& x);  // [N, H, W, C] -> [N, 1, 1, C]

// --- Softmax and losses, over the last axis.
Tensor softmax(const Tensor& x);
Tensor log_softmax(const Tensor& x);
/// Mean over the batch of -sum_c t_c log softmax(z)_c. `target` is [N] class indices, smoothed to
/// (1 - s) onehot + s / classes, or [N, classes] probabilities (smoothed likewise).
Tensor cross_entropy(const Tensor& logits, const Tensor& target, float label_smoothing = 0.0f);
Tensor mse_loss(const Tensor& a, const Tensor& b);

// --- Shape.
Tensor reshape(const Tensor& x, const Shape& shape);
Tensor flatten(
    const Tensor& x);  // [N, H, W, C] -> [N, C H W]: the order of files and other frameworks
Tensor transpose(const Tensor& x);  // [M, N] -> [N, M]
Tensor concat(const std::vector<Tensor>& parts, int axis = -1);
std::vector<Tensor> split(const Tensor& x, const std::vector<int64_t>& sizes, int axis = -1);
Tensor slice(const Tensor& x, int axis, int64_t begin, int64_t end);
/// Zeros (or `value`) around one axis.
Tensor pad(const Tensor& x, int axis, int64_t before, int64_t after, float value = 0.0f);
/// View channels as (groups, C/groups), transpose, flatten. ShuffleNet, arXiv:1707.01083.
Tensor channel_shuffle(const Tensor& x, int groups);

/// Training: zero with probability p, scale the rest by 1/(1-p). Advances rng.
Tensor dropout(const Tensor& x, float p, Rng& rng);

}  // namespace pare
