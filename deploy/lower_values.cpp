// Sums, pools, nonlinearities and quantizers on their own, and what only moves values.

#include <algorithm>

#include "deploy/lowering.h"

namespace pare::deploy {

using runtime::Buffer;
using runtime::Op;
using runtime::OpKind;
using runtime::Type;
using Kind = Node::Kind;

void Lowering::sum(int i) {
  const Node& n = net_[i];
  const bool codes = type_of(n.inputs[0]) == Type::u8 && type_of(n.inputs[1]) == Type::u8;
  const Chain chain = chain_of(i, false, true, codes);
  const bool to_codes = chain.quantizer && chain.quantizer->codes->kind == nn::Codes::Kind::uniform;
  const Chain used = chain.quantizer && !to_codes ? chain_of(i, false, true, false) : chain;
  const Type type = codes ? Type::u8 : Type::f32;
  const int a = as(n.inputs[0], type), b = as(n.inputs[1], type);
  const Node& last = net_[used.last];
  const int to =
      used.quantizer ? coded_buffer(*used.quantizer, last) : add_buffer(last.name, Type::f32, last);
  Op& op = add_op(OpKind::add, n.name, {a, b}, to);
  const double by = used.quantizer ? steps(*used.quantizer) : 1.0;
  for (int side : {a, b}) {
    op.finish.scale.push_back(static_cast<float>((codes ? buffer(side).scale : 1.0) * by));
  }
  set_limits(op.finish, used);
  take(i, used, to);
}

void Lowering::average(int i) {
  const Node& n = net_[i];
  const bool codes = type_of(n.inputs[0]) == Type::u8;
  const int in = codes ? buffer_of(n.inputs[0]) : as(n.inputs[0], Type::f32);
  Chain chain = chain_of(i, false, true, codes);
  if (chain.quantizer && chain.quantizer->codes->kind != nn::Codes::Kind::uniform) {
    chain = chain_of(i, false, true, false);
  }
  const Node& last = net_[chain.last];
  const int to = chain.quantizer ? coded_buffer(*chain.quantizer, last)
                                 : add_buffer(last.name, Type::f32, last);
  Op& op = add_op(OpKind::avg_pool, n.name, {in}, to);
  op.window = n.window;
  const double by = chain.quantizer ? steps(*chain.quantizer) : 1.0;
  op.finish.scale = {static_cast<float>((codes ? buffer(in).scale : 1.0) * by)};
  set_limits(op.finish, chain);
  take(i, chain, to);
}

void Lowering::affine(int i) {
  const Node& n = net_[i];
  Chain chain =
      n.kind == Kind::clamp ? Chain{.clamp = &n, .last = i} : chain_of(i, false, true, false);
  const int in = as(n.inputs[0], Type::f32);
  const Node& last = net_[chain.last];
  const int to = add_buffer(last.name, Type::f32, last);
  Op& op = add_op(OpKind::affine, n.name, {in}, to);
  const auto channels = static_cast<size_t>(n.c);
  const bool clamp = n.kind == Kind::clamp;
  op.finish.scale = clamp ? std::vector<float>(channels, 1.0f) : n.scale;
  op.finish.bias = clamp ? std::vector<float>(channels, 0.0f) : n.shift;
  set_limits(op.finish, chain);
  take(i, chain, to);
}

void Lowering::quantize(int i) {
  const Node& n = net_[i];
  const int in = as(n.inputs[0], Type::f32);
  const int to = coded_buffer(n, n);
  Op& op = add_op(OpKind::convert, n.name, {in}, to);
  const nn::Codes& c = *n.codes;
  if (c.kind == nn::Codes::Kind::uniform) {
    set_limits(op.finish, {.quantizer = &n});
    op.encoding = n.levels ? runtime::Encoding::multiply : runtime::Encoding::divide;
    op.finish.scale = {n.levels ? c.input_scale : c.scale[0]};
    op.finish.shift_first = c.shift_first;
  } else if (c.kind == nn::Codes::Kind::ternary) {
    op.encoding = runtime::Encoding::ternary;
    op.finish.scale = {c.threshold};
    op.finish.min = -1, op.finish.max = 1;
  }
  take(i, {.last = i}, to);
}

void Lowering::of_floats(int i) {
  const Node& n = net_[i];
  std::vector<int32_t> inputs;
  for (int from : n.inputs) inputs.push_back(as(from, Type::f32));
  const int to = add_buffer(n.name, Type::f32, n);
  Op& op = add_op(n.kind == Kind::mul ? OpKind::mul : OpKind::function, n.name, inputs, to);
  op.function = n.function;
  if (n.kind == Kind::function) op.finish.scale = {n.slope};
  take(i, {.last = i}, to);
}

void Lowering::move(int i) {
  const Node& n = net_[i];
  const Buffer& first = buffer(buffer_of(n.inputs[0]));
  const bool same = std::all_of(n.inputs.begin(), n.inputs.end(), [&](int from) {
    const Buffer& b = buffer(buffer_of(from));
    return b.type == first.type && b.scale == first.scale && b.zero == first.zero;
  });
  const bool no_signs = n.kind == Kind::concat || n.kind == Kind::pad ||
                        (n.kind == Kind::flatten && net_[n.inputs[0]].h * net_[n.inputs[0]].w != 1);
  const bool floats = !same || (first.type == Type::bits && no_signs);
  const Type type = floats ? Type::f32 : first.type;
  const float scale = floats ? 1.0f : first.scale;
  const int32_t zero = floats ? 0 : first.zero;
  std::vector<int32_t> inputs;
  for (int from : n.inputs) inputs.push_back(as(from, type));
  const int to = add_buffer(n.name, type, n);
  buffer(to).scale = scale, buffer(to).zero = zero;
  const OpKind kind = n.kind == Kind::max_pool  ? OpKind::max_pool
                      : n.kind == Kind::concat  ? OpKind::concat
                      : n.kind == Kind::shuffle ? OpKind::shuffle
                      : n.kind == Kind::pad     ? OpKind::pad
                                                : OpKind::flatten;
  Op& op = add_op(kind, n.name, inputs, to);
  op.window = n.window, op.groups = n.groups, op.pad_before = n.pad_before;
  take(i, {.last = i}, to);
}

}  // namespace pare::deploy
