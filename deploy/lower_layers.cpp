// Convolutions and linear layers, and what is computed along with them.

#include <algorithm>
#include <cmath>

#include "deploy/lowering.h"

namespace pare::deploy {

using runtime::Buffer;
using runtime::Coding;
using runtime::Op;
using runtime::OpKind;
using runtime::Type;

Lowering::Line Lowering::along(Line line, const Chain& chain, int64_t channel) {
  for (const Node* a : chain.affine) {
    const auto c = static_cast<size_t>(channel);
    line = {line.scale * a->scale[c], line.bias * a->scale[c] + a->shift[c]};
  }
  return line;
}

void Lowering::set_limits(runtime::Finish& f, const Chain& chain) {
  if (chain.clamp) f.min = chain.clamp->lo, f.max = chain.clamp->hi;
  if (!chain.quantizer) return;
  const nn::Codes& c = *chain.quantizer->codes;
  const double by = steps(*chain.quantizer);
  f.min = std::max(static_cast<float>(f.min * by), c.lo - c.zero[0]);
  f.max = std::min(static_cast<float>(f.max * by), c.hi - c.zero[0]);
  f.min = std::min(f.min, c.hi - c.zero[0]), f.max = std::max(f.max, f.min);
  f.half_away = c.rounding == Rounding::half_away;
}

void Lowering::conv(int i) {
  const Node& n = net_[i];
  PackedWeight w = pack(n);
  const bool plain = w.coding == Coding::f32;
  const bool signs = w.coding == Coding::ternary || w.coding == Coding::binary;
  const int from = n.inputs[0];
  const Type found = type_of(from);
  const Type type = plain ? Type::f32 : found == Type::bits && !signs ? Type::u8 : found;
  const int in = as(from, type);
  Chain chain = chain_of(i, true, true, true);
  const bool to_signs = chain.quantizer && chain.quantizer->codes->kind == nn::Codes::Kind::binary;
  if (type == Type::f32 && !to_signs) chain = chain_of(i, true, true, false);
  runtime::Finish finish;
  if (type != Type::f32 && to_signs) {
    thresholds(n, w, in, chain, finish);
  } else {
    scales(n, w, in, chain, finish);
  }
  const Node& last = net_[chain.last];
  const int to = chain.quantizer ? coded_buffer(*chain.quantizer, last)
                                 : add_buffer(last.name, Type::f32, last);
  Op& op = add_op(OpKind::conv, n.name, {in}, to);
  op.window = n.window, op.groups = n.groups, op.finish = std::move(finish);
  op.coding = w.coding, op.weights = w.bytes(n.weight);
  take(i, chain, to);
  report(op, w.why_float);
}

double Lowering::worth(const PackedWeight& w, int in, int64_t filter) {
  const double x = buffer(in).type == Type::u8 ? buffer(in).scale : 1.0;
  return x * (w.scale.empty() ? 1.0 : double{w.scale[static_cast<size_t>(filter)]});
}

void Lowering::scales(const Node& n, const PackedWeight& w, int in, const Chain& chain,
                      runtime::Finish& f) {
  const bool codes = chain.quantizer && chain.quantizer->codes->kind == nn::Codes::Kind::uniform;
  const double by = codes ? steps(*chain.quantizer) : 1.0;
  for (int64_t c = 0; c < n.c; ++c) {
    const double bias = n.bias ? double{n.bias.data()[c]} : 0.0;
    const Line line = along({worth(w, in, c), bias}, chain, c);
    f.scale.push_back(static_cast<float>(line.scale * by));
    f.bias.push_back(static_cast<float>(line.bias * by));
  }
  set_limits(f, {.clamp = chain.clamp, .quantizer = codes ? chain.quantizer : nullptr});
}

void Lowering::thresholds(const Node& n, const PackedWeight& w, int in, const Chain& chain,
                          runtime::Finish& f) {
  const Buffer& x = buffer(in);
  const int32_t largest = x.type == Type::bits ? 1 : std::max(x.zero, 255 - x.zero);
  for (int64_t c = 0; c < n.c; ++c) {
    int64_t total = 0;
    for (int64_t k = 0; k < w.n; ++k) {
      total += std::abs(int{w.values[static_cast<size_t>(c * w.n + k)]});
    }
    const auto most = static_cast<int32_t>(total * largest);
    const auto by = static_cast<float>(worth(w, in, c));
    const float bias = n.bias ? n.bias.data()[c] : 0.0f;
    const auto positive = [&](int32_t raw) {
      float y = static_cast<float>(raw) * by + bias;
      for (const Node* a : chain.affine) {
        const auto channel = static_cast<size_t>(c);
        y = std::fma(y, a->scale[channel], a->shift[channel]);
      }
      if (chain.clamp) y = std::min(std::max(y, chain.clamp->lo), chain.clamp->hi);
      return y >= 0;
    };
    const bool falls = positive(-most) && !positive(most);
    f.threshold.push_back(threshold(most, [&](int32_t raw) { return positive(raw) != falls; }));
    if (!falls) continue;
    f.falls.resize((static_cast<size_t>(n.c) + 7) / 8);
    auto& byte = f.falls[static_cast<size_t>(c / 8)];
    byte = static_cast<uint8_t>(byte | 1 << (c % 8));
  }
}

void Lowering::report(const Op& op, const std::string& note) {
  const auto type = [&](int b) -> std::string {
    const Buffer& x = buffer(b);
    return x.type == Type::f32 ? "float" : x.type == Type::bits ? "signs" : "codes";
  };
  out_.report.rows.push_back({.name = op.name,
                              .weights = runtime::coding_name(op.coding),
                              .input = type(op.inputs[0]),
                              .output = type(op.output),
                              .macs = runtime::macs(out_.program, op),
                              .bytes = op.weights.size,
                              .note = note});
}

}  // namespace pare::deploy
