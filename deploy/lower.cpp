#include "deploy/lower.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.h"
#include "deploy/lower_weights.h"
#include "deploy/runtime/file.h"

namespace pare::deploy {

namespace {

using runtime::Buffer;
using runtime::Coding;
using runtime::kInfinity;
using runtime::Op;
using runtime::OpKind;
using runtime::Type;
using Kind = Node::Kind;

/// What follows a node and is computed along with it: affine steps, then a clamp, then a quantizer;
/// each may be missing, and nothing else reads what is in between.
struct Chain {
  std::vector<const Node*> affine = {};
  const Node* clamp = nullptr;
  const Node* quantizer = nullptr;
  int last = 0;  // the node whose value comes out
};

class Lowering {
 public:
  explicit Lowering(Network network) : net_(std::move(network)) {}

  Lowered run() {
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

 private:
  void find_live() {
    live_.assign(static_cast<size_t>(net_.size()), false);
    live_[static_cast<size_t>(net_.output)] = true;
    for (int i = net_.size(); i-- > 0;) {
      if (!live_[static_cast<size_t>(i)]) continue;
      for (int from : net_[i].inputs) live_[static_cast<size_t>(from)] = true;
    }
  }

  int only_user(int i) const {
    if (i == net_.output) return -1;
    int found = -1;
    for (int user : net_.users(i)) {
      if (!live_[static_cast<size_t>(user)]) continue;
      if (found >= 0) return -1;
      found = user;
    }
    return found;
  }

  Buffer& buffer(int b) { return out_.program.buffers[static_cast<size_t>(b)]; }
  int buffer_of(int node) const { return buffer_of_[static_cast<size_t>(node)]; }
  Type type_of(int node) { return buffer(buffer_of(node)).type; }

  int add_buffer(const std::string& name, Type type, const Node& shape) {
    out_.program.buffers.push_back(
        {.name = name, .type = type, .h = shape.h, .w = shape.w, .c = shape.c});
    return static_cast<int>(out_.program.buffers.size()) - 1;
  }

  /// A buffer for what a quantizer gives.
  int coded_buffer(const Node& q, const Node& shape) {
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

  Op& add_op(OpKind kind, const std::string& name, std::vector<int32_t> inputs, int output) {
    Op& op = out_.program.ops.emplace_back();
    op.name = name, op.kind = kind, op.inputs = std::move(inputs), op.output = output;
    return op;
  }

  /// The buffer of a node's value in that type; converts it once.
  int as(int node, Type type) {
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

  Chain chain_of(int i, bool affine, bool clamp, bool quantizer) const {
    Chain chain{.last = i};
    for (int next; (next = only_user(chain.last)) >= 0; chain.last = next) {
      const Node& n = net_[next];
      if (n.kind == Kind::affine && affine && !chain.clamp) {
        chain.affine.push_back(&n);
      } else if (n.kind == Kind::clamp && clamp && !chain.clamp) {
        chain.clamp = &n;
      } else if (n.kind == Kind::quantize && quantizer &&
                 n.codes->kind != nn::Codes::Kind::ternary) {
        chain.quantizer = &n;
        chain.last = next;
        break;
      } else {
        break;
      }
    }
    return chain;
  }

  void take(int first, const Chain& chain, int buffer) {
    for (int i = first;; i = only_user(i)) {
      done_[static_cast<size_t>(i)] = true;
      if (i == chain.last) break;
    }
    buffer_of_[static_cast<size_t>(chain.last)] = buffer;
  }

  void emit(int i) {
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

  // --- Scale and bias of a chain, for raw numbers that are worth `scale` each.

  struct Line {
    double scale, bias;
  };
  static Line along(Line line, const Chain& chain, int64_t channel) {
    for (const Node* a : chain.affine) {
      const auto c = static_cast<size_t>(channel);
      line = {line.scale * a->scale[c], line.bias * a->scale[c] + a->shift[c]};
    }
    return line;
  }
  /// What x is multiplied by before it is rounded.
  static double steps(const Node& q) { return double{q.codes->input_scale} / q.codes->scale[0]; }
  static void set_limits(runtime::Finish& f, const Chain& chain) {
    if (chain.clamp) f.min = chain.clamp->lo, f.max = chain.clamp->hi;
    if (!chain.quantizer) return;
    const nn::Codes& c = *chain.quantizer->codes;
    const double by = steps(*chain.quantizer);
    f.min = std::max(static_cast<float>(f.min * by), c.lo - c.zero[0]);
    f.max = std::min(static_cast<float>(f.max * by), c.hi - c.zero[0]);
    f.min = std::min(f.min, c.hi - c.zero[0]), f.max = std::max(f.max, f.min);
    f.half_away = c.rounding == Rounding::half_away;
  }

  void conv(int i) {
    const Node& n = net_[i];
    PackedWeight w = pack(n);
    const bool plain = w.coding == Coding::f32;
    const bool signs = w.coding == Coding::ternary || w.coding == Coding::binary;
    const int from = n.inputs[0];
    const Type found = type_of(from);
    const Type type = plain ? Type::f32 : found == Type::bits && !signs ? Type::u8 : found;
    const int in = as(from, type);
    Chain chain = chain_of(i, true, true, type != Type::f32);
    const bool to_signs =
        chain.quantizer && chain.quantizer->codes->kind == nn::Codes::Kind::binary;
    runtime::Finish finish;
    if (to_signs && !thresholds(n, w, in, chain, finish)) {
      chain = chain_of(i, true, true, false);
      finish = {};
    }
    const Node& last = net_[chain.last];
    const int to = chain.quantizer ? coded_buffer(*chain.quantizer, last)
                                   : add_buffer(last.name, Type::f32, last);
    if (buffer(to).type != Type::bits) scales(n, w, in, chain, finish);
    Op& op = add_op(OpKind::conv, n.name, {in}, to);
    op.window = n.window, op.groups = n.groups, op.finish = std::move(finish);
    op.coding = w.coding, op.weights = w.bytes(n.weight);
    take(i, chain, to);
    report(op, w.why_float);
  }

  double worth(const PackedWeight& w, int in, int64_t filter) {
    const double x = buffer(in).type == Type::u8 ? buffer(in).scale : 1.0;
    return x * (w.scale.empty() ? 1.0 : double{w.scale[static_cast<size_t>(filter)]});
  }

  void scales(const Node& n, const PackedWeight& w, int in, const Chain& chain,
              runtime::Finish& f) {
    const double by = chain.quantizer ? steps(*chain.quantizer) : 1.0;
    for (int64_t c = 0; c < n.c; ++c) {
      const double bias = n.bias ? double{n.bias.data()[c]} : 0.0;
      const Line line = along({worth(w, in, c), bias}, chain, c);
      f.scale.push_back(static_cast<float>(line.scale * by));
      f.bias.push_back(static_cast<float>(line.bias * by));
    }
    set_limits(f, chain);
  }

  /// For each filter, from which raw number on the sign is +1, asked of the float functions
  /// themselves. Filters whose sign falls with raw are negated first; false if one cannot be.
  bool thresholds(const Node& n, PackedWeight& w, int in, const Chain& chain, runtime::Finish& f) {
    const Buffer& x = buffer(in);
    const int32_t largest = x.type == Type::bits ? 1 : std::max(x.zero, 255 - x.zero);
    for (int64_t c = 0; c < n.c; ++c) {
      int64_t total = 0;
      for (int64_t k = 0; k < w.n; ++k)
        total += std::abs(w.values[static_cast<size_t>(c * w.n + k)]);
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
      if (positive(-most) && !positive(most)) {
        if (!w.negate(c)) return false;
        f.threshold.push_back(threshold(most, [&](int32_t raw) { return positive(-raw); }));
      } else {
        f.threshold.push_back(threshold(most, positive));
      }
    }
    return true;
  }

  void sum(int i) {
    const Node& n = net_[i];
    const bool codes = type_of(n.inputs[0]) == Type::u8 && type_of(n.inputs[1]) == Type::u8;
    const Chain chain = chain_of(i, false, true, codes);
    const bool to_codes =
        chain.quantizer && chain.quantizer->codes->kind == nn::Codes::Kind::uniform;
    const Chain used = chain.quantizer && !to_codes ? chain_of(i, false, true, false) : chain;
    const Type type = codes ? Type::u8 : Type::f32;
    const int a = as(n.inputs[0], type), b = as(n.inputs[1], type);
    const Node& last = net_[used.last];
    const int to = used.quantizer ? coded_buffer(*used.quantizer, last)
                                  : add_buffer(last.name, Type::f32, last);
    Op& op = add_op(OpKind::add, n.name, {a, b}, to);
    const double by = used.quantizer ? steps(*used.quantizer) : 1.0;
    for (int side : {a, b}) {
      op.finish.scale.push_back(static_cast<float>((codes ? buffer(side).scale : 1.0) * by));
    }
    set_limits(op.finish, used);
    take(i, used, to);
  }

  void average(int i) {
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

  /// A batch norm or nonlinearity of its own.
  void affine(int i) {
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

  void quantize(int i) {
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

  void of_floats(int i) {
    const Node& n = net_[i];
    std::vector<int32_t> inputs;
    for (int from : n.inputs) inputs.push_back(as(from, Type::f32));
    const int to = add_buffer(n.name, Type::f32, n);
    Op& op = add_op(n.kind == Kind::mul ? OpKind::mul : OpKind::function, n.name, inputs, to);
    op.function = n.function;
    if (n.kind == Kind::function) op.finish.scale = {n.slope};
    take(i, {.last = i}, to);
  }

  /// Moves values in whatever type they are.
  void move(int i) {
    const Node& n = net_[i];
    const Buffer& first = buffer(buffer_of(n.inputs[0]));
    const bool same = std::all_of(n.inputs.begin(), n.inputs.end(), [&](int from) {
      const Buffer& b = buffer(buffer_of(from));
      return b.type == first.type && b.scale == first.scale && b.zero == first.zero;
    });
    const bool no_signs =
        n.kind == Kind::concat || n.kind == Kind::pad ||
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

  void report(const Op& op, const std::string& note) {
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

  Network net_;
  std::vector<bool> live_, done_;
  std::vector<int> buffer_of_;  // by node
  std::map<std::pair<int, Type>, int> converted_;
  Lowered out_;
};

}  // namespace

Lowered lower(nn::Layer& model, const Tensor& example) {
  PARE_CHECK(example && example.dim(0) == 1, "lower: needs an example of one image");
  Network network = read_network(nn::trace_values(model, example));
  hoist_quantizers(network);
  Lowered lowered = Lowering(std::move(network)).run();
  lowered.report.bytes = static_cast<int64_t>(runtime::to_bytes(lowered.program).size());
  return lowered;
}

}  // namespace pare::deploy
