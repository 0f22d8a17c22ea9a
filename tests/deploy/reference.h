#pragma once
// What a program means, in plain loops: the definition that kernels must meet bit for bit.

#include <cmath>
#include <cstring>
#include <vector>

#include "deploy/runtime/program.h"

namespace pare::test {

using runtime::Buffer;
using runtime::Op;
using runtime::OpKind;
using runtime::Program;
using runtime::Type;

/// A buffer with one number for each element: a float, a code, or -1 and 1.
using Values = std::vector<double>;

class Reference {
 public:
  explicit Reference(const Program& program) : p_(program), values_(program.buffers.size()) {}

  /// One image.
  std::vector<float> run(const float* image) {
    Values& in = values_[static_cast<size_t>(p_.input)];
    in.assign(image, image + p_.buffers[static_cast<size_t>(p_.input)].numel());
    for (const Op& op : p_.ops) compute(op);
    const Values& out = values_[static_cast<size_t>(p_.output)];
    return {out.begin(), out.end()};
  }

 private:
  const Buffer& buffer(int32_t b) const { return p_.buffers[static_cast<size_t>(b)]; }
  const Values& in(const Op& op, size_t i = 0) const {
    return values_[static_cast<size_t>(op.inputs[i])];
  }

  static float limited(float t, const runtime::Finish& f) {
    return std::min(std::max(t, f.min), f.max);
  }
  /// What a raw number becomes, whose scale and bias are these.
  static double finished(const Op& op, const Buffer& out, double raw, float scale, float bias,
                         int64_t channel) {
    const runtime::Finish& f = op.finish;
    if (out.type == Type::bits && !f.threshold.empty()) {
      const bool falls =
          !f.falls.empty() && (f.falls[static_cast<size_t>(channel / 8)] >> (channel % 8) & 1);
      return (raw >= f.threshold[static_cast<size_t>(channel)]) != falls ? 1 : -1;
    }
    float t = static_cast<float>(raw) * scale;
    t = limited(t + bias, f);
    if (out.type == Type::f32) return t;
    if (out.type == Type::bits) return t >= 0 ? 1 : -1;
    return (f.half_away ? std::round(t) : std::nearbyint(t)) + out.zero;
  }

  void compute(const Op& op) {
    const Buffer &x = buffer(op.inputs[0]), &out = buffer(op.output);
    Values y(static_cast<size_t>(out.numel()));
    for (int64_t i = 0; i < out.numel(); ++i) {
      const int64_t c = i % out.c, column = i / out.c % out.w, row = i / out.c / out.w;
      y[static_cast<size_t>(i)] = op.kind == OpKind::conv ? conv(op, x, out, row, column, c)
                                  : op.kind == OpKind::max_pool || op.kind == OpKind::avg_pool
                                      ? pool(op, x, out, row, column, c)
                                      : other(op, x, out, i, c);
    }
    values_[static_cast<size_t>(op.output)] = std::move(y);
  }

  double conv(const Op& op, const Buffer& x, const Buffer& out, int64_t row, int64_t column,
              int64_t c) {
    const runtime::Window& w = op.window;
    const int64_t ipg = x.c / op.groups, group = c / (out.c / op.groups);
    const int64_t n = int64_t{w.kh} * w.kw * ipg, bytes = runtime::filter_bytes(op.coding, n);
    std::vector<int16_t> numbers(static_cast<size_t>(n));
    std::vector<float> floats(numbers.size());
    if (op.coding == runtime::Coding::f32) {
      std::memcpy(floats.data(), op.weights.data + c * bytes, static_cast<size_t>(bytes));
    } else {
      runtime::unpack_filter(op.coding, op.weights.data + c * bytes, n, numbers.data());
      floats.assign(numbers.begin(), numbers.end());
    }
    const bool depthwise = ipg == 1 && out.c == op.groups && op.groups > 1;
    float sum = 0;
    int64_t whole = 0;
    for (int64_t k = 0; k < n; ++k) {
      const int64_t i = row * w.sh - w.ph + k / ipg / w.kw * w.dh;
      const int64_t j = column * w.sw - w.pw + k / ipg % w.kw * w.dw;
      const bool inside = i >= 0 && i < x.h && j >= 0 && j < x.w;
      const double v = inside ? in(op)[at(x, i, j, group * ipg + k % ipg)] : x.zero;
      const float f = floats[static_cast<size_t>(k)];
      if (x.type == Type::f32) {  // in this order, one rounding a step but for depthwise
        const auto a = static_cast<float>(inside ? v : 0.0);
        if (!depthwise) sum = std::fma(a, f, sum);
        if (depthwise && inside) sum = sum + a * f;
      } else {
        whole += static_cast<int64_t>(inside ? v - (x.type == Type::u8 ? x.zero : 0) : 0) *
                 numbers[static_cast<size_t>(k)];
      }
    }
    const auto channel = static_cast<size_t>(c);
    const bool bits = out.type == Type::bits && x.type != Type::f32;
    return finished(op, out, x.type == Type::f32 ? sum : static_cast<double>(whole),
                    bits ? 0 : op.finish.scale[channel], bits ? 0 : op.finish.bias[channel], c);
  }

  static size_t at(const Buffer& b, int64_t i, int64_t j, int64_t c) {
    return static_cast<size_t>((i * b.w + j) * b.c + c);
  }

  double pool(const Op& op, const Buffer& x, const Buffer& out, int64_t row, int64_t column,
              int64_t c) {
    const runtime::Window& w = op.window;
    double largest = -runtime::kInfinity, whole = 0;
    float sum = 0;
    int count = 0;
    for (int64_t i = row * w.sh - w.ph, last = i + w.kh; i < last; ++i) {
      for (int64_t j = column * w.sw - w.pw, end = j + w.kw; j < end; ++j) {
        if (i < 0 || i >= x.h || j < 0 || j >= x.w) continue;
        const double v = in(op)[at(x, i, j, c)];
        largest = std::max(largest, v);
        whole += v - x.zero;
        sum += static_cast<float>(v);
        ++count;
      }
    }
    if (op.kind == OpKind::max_pool) return largest;
    const auto n = static_cast<float>(w.count_pad ? w.kh * w.kw : count);
    return finished(op, out, x.type == Type::u8 ? whole : sum, op.finish.scale[0] / n, 0, c);
  }

  double other(const Op& op, const Buffer& x, const Buffer& out, int64_t i, int64_t c) {
    const auto k = static_cast<size_t>(i);
    const runtime::Finish& f = op.finish;
    switch (op.kind) {
      case OpKind::add: {
        const auto a = static_cast<float>(in(op)[k] - (x.type == Type::u8 ? x.zero : 0));
        const Buffer& second = buffer(op.inputs[1]);
        const auto b =
            static_cast<float>(in(op, 1)[k] - (second.type == Type::u8 ? second.zero : 0));
        const float left = a * f.scale[0], right = b * f.scale[1];
        const float t = limited(left + right, f);
        if (out.type == Type::f32) return t;
        return (f.half_away ? std::round(t) : std::nearbyint(t)) + out.zero;
      }
      case OpKind::mul:
        return static_cast<float>(in(op)[k]) *
               static_cast<float>(in(op, 1)[static_cast<size_t>(c)]);
      case OpKind::affine: {
        const float t = static_cast<float>(in(op)[k]) * f.scale[static_cast<size_t>(c)];
        return limited(t + f.bias[static_cast<size_t>(c)], f);
      }
      case OpKind::convert:
        return convert(op, x, out, in(op)[k]);
      case OpKind::concat: {
        int64_t channel = c;
        for (size_t part = 0;; channel -= buffer(op.inputs[part++]).c) {
          const Buffer& b = buffer(op.inputs[part]);
          if (channel < b.c) return in(op, part)[static_cast<size_t>(i / out.c * b.c + channel)];
        }
      }
      case OpKind::shuffle: {
        const int64_t each = out.c / op.groups;
        return in(op)[static_cast<size_t>(i - c + c % op.groups * each + c / op.groups)];
      }
      case OpKind::pad: {
        const int64_t from = c - op.pad_before;
        if (from < 0 || from >= x.c) return out.type == Type::u8 ? out.zero : 0;
        return in(op)[static_cast<size_t>(i / out.c * x.c + from)];
      }
      case OpKind::flatten: {
        const int64_t pixels = x.pixels();
        return in(op)[static_cast<size_t>(i % pixels * x.c + i / pixels)];
      }
      default:
        return function(op, static_cast<float>(in(op)[k]));
    }
  }

  static double convert(const Op& op, const Buffer& x, const Buffer& out, double v) {
    const runtime::Finish& f = op.finish;
    if (x.type == Type::bits) return out.type == Type::u8 ? v + 1 : v;
    if (out.type == Type::bits) return v >= 0 ? 1 : -1;
    if (x.type == out.type) return v;
    if (out.type == Type::f32) return static_cast<float>(v - x.zero) * x.scale;
    const auto value = static_cast<float>(v);
    const auto round = [&](float t) { return f.half_away ? std::round(t) : std::nearbyint(t); };
    if (op.encoding == runtime::Encoding::ternary) {
      return out.zero + (value > f.scale[0]) - (value < -f.scale[0]);
    }
    if (op.encoding == runtime::Encoding::multiply) {
      return round(std::min(std::max(value * f.scale[0], 0.0f), 1.0f) * f.max) + out.zero;
    }
    const float t = value / f.scale[0];
    const auto zero = static_cast<float>(out.zero);
    if (f.shift_first) return std::min(std::max(round(t + zero), f.min + zero), f.max + zero);
    return std::min(std::max(round(t), f.min), f.max) + out.zero;
  }

  static double function(const Op& op, float x) {
    switch (op.function) {
      case runtime::Function::leaky_relu:
        return x > 0 ? x : x * op.finish.scale[0];
      case runtime::Function::hard_swish:
        return x * std::min(std::max(x + 3.0f, 0.0f), 6.0f) / 6.0f;
      case runtime::Function::silu:
        return x / (1.0f + std::exp(-x));
      case runtime::Function::sigmoid:
        return 1.0f / (1.0f + std::exp(-x));
      default:
        return std::tanh(x);
    }
  }

  const Program& p_;
  std::vector<Values> values_;
};

}  // namespace pare::test
