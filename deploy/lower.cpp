#include "deploy/lower.h"

#include <cmath>

#include "core/error.h"
#include "deploy/lowering.h"
#include "deploy/runtime/file.h"

namespace pare::deploy {

using runtime::Op;
using runtime::OpKind;
using runtime::Type;
using Kind = Node::Kind;

Lowered Lowering::run() {
  const auto n = static_cast<size_t>(net_.size());
  buffer_of_.assign(n, -1);
  done_.assign(n, false);
  find_live();
  for (int i = 0; i < net_.size(); ++i) {
    if (live_[static_cast<size_t>(i)] && !done_[static_cast<size_t>(i)]) emit(i);
  }
  out_.program.output = as(net_.output, Type::f32);
  runtime::check(out_.program);
  return std::move(out_);
}

void Lowering::find_live() {
  live_.assign(static_cast<size_t>(net_.size()), false);
  live_[static_cast<size_t>(net_.output)] = true;
  for (int i = net_.size(); i-- > 0;) {
    if (!live_[static_cast<size_t>(i)]) continue;
    for (int from : net_[i].inputs) live_[static_cast<size_t>(from)] = true;
  }
}

int Lowering::only_user(int i) const {
  if (i == net_.output) return -1;
  int found = -1;
  for (int user : net_.users(i)) {
    if (!live_[static_cast<size_t>(user)]) continue;
    if (found >= 0) return -1;
    found = user;
  }
  return found;
}

int Lowering::add_buffer(const std::string& name, Type type, const Node& shape) {
  out_.program.buffers.push_back(
      {.name = name, .type = type, .h = shape.h, .w = shape.w, .c = shape.c});
  return static_cast<int>(out_.program.buffers.size()) - 1;
}

int Lowering::coded_buffer(const Node& q, const Node& shape) {
  const nn::Codes& c = *q.codes;
  if (c.kind == nn::Codes::Kind::binary) return add_buffer(q.name, Type::bits, shape);
  const int b = add_buffer(q.name, Type::u8, shape);
  const float zero = c.zero[0] - c.lo;
  PARE_CHECK(c.share == QuantShare::tensor, "lower: ", q.name,
             ": activations with a scale per channel have no integer kernels",
             hint("calibrate with one scale for each tensor (per=tensor)"));
  PARE_CHECK(c.hi - c.lo <= 255 && c.spacing == 1, "lower: ", q.name, ": ", c.bits,
             " bits, the kernels read codes of up to 8",
             hint("quantize activations to 8 bits or less"));
  PARE_CHECK(zero >= 0 && zero <= 255 && zero == std::nearbyint(zero) && c.scale[0] > 0,
             "lower: ", q.name, ": zero is not one of its codes (zero point ", zero,
             "), and padding needs it", hint("use a quantizer whose range contains 0"));
  buffer(b).scale = c.scale[0];
  buffer(b).zero = static_cast<int32_t>(zero);
  return b;
}

Op& Lowering::add_op(OpKind kind, const std::string& name, std::vector<int32_t> inputs,
                     int output) {
  Op& op = out_.program.ops.emplace_back();
  op.name = name, op.kind = kind, op.inputs = std::move(inputs), op.output = output;
  return op;
}

int Lowering::as(int node, Type type) {
  const int b = buffer_of(node);
  if (buffer(b).type == type) return b;
  const auto key = std::pair(node, type);
  if (const auto it = converted_.find(key); it != converted_.end()) return it->second;
  const char* suffix = type == Type::f32 ? ":float" : ":codes";
  const int to = add_buffer(net_[node].name + suffix, type, net_[node]);
  if (type == Type::u8) buffer(to).zero = 1;  // signs as codes 0 and 2
  add_op(OpKind::convert, buffer(to).name, {b}, to);
  return converted_[key] = to;
}

Chain Lowering::chain_of(int i, bool affine, bool clamp, bool quantizer) const {
  Chain chain{.last = i};
  for (int next; (next = only_user(chain.last)) >= 0; chain.last = next) {
    const Node& n = net_[next];
    if (n.kind == Kind::affine && affine && !chain.clamp) {
      chain.affine.push_back(&n);
    } else if (n.kind == Kind::clamp && clamp && !chain.clamp) {
      chain.clamp = &n;
    } else if (n.kind == Kind::quantize && quantizer && n.codes->kind != nn::Codes::Kind::ternary) {
      chain.quantizer = &n;
      chain.last = next;
      break;
    } else {
      break;
    }
  }
  return chain;
}

void Lowering::take(int first, const Chain& chain, int buffer) {
  for (int i = first;; i = only_user(i)) {
    done_[static_cast<size_t>(i)] = true;
    if (i == chain.last) break;
  }
  buffer_of_[static_cast<size_t>(chain.last)] = buffer;
}

void Lowering::emit(int i) {
  const Node& n = net_[i];
  switch (n.kind) {
    case Kind::input:
      out_.program.input = add_buffer(n.name, Type::f32, n);
      buffer_of_[static_cast<size_t>(i)] = out_.program.input;
      done_[static_cast<size_t>(i)] = true;
      return;
    case Kind::conv:
      return conv(i);
    case Kind::add:
      return sum(i);
    case Kind::avg_pool:
      return average(i);
    case Kind::affine:
    case Kind::clamp:
      return affine(i);
    case Kind::quantize:
      return quantize(i);
    case Kind::mul:
    case Kind::function:
      return of_floats(i);
    default:
      return move(i);
  }
}

Lowered lower(nn::Layer& model, const Tensor& example) {
  PARE_CHECK(example && example.dim(0) == 1, "lower: needs an example of one image");
  Network network = read_network(nn::trace_values(model, example));
  hoist_quantizers(network);
  Lowered lowered = Lowering(std::move(network)).run();
  lowered.report.bytes = static_cast<int64_t>(runtime::to_bytes(lowered.program).size());
  return lowered;
}

}  // namespace pare::deploy
