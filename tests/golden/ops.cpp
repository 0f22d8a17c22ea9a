// ops/*: the inputs of one op by name, its output "y" (or "loss"), the gradient "gy" of y, and the
// gradient "g<input>" of every input. The op is named by metadata "op" (else the file), its options
// by the metadata.

#include <functional>

#include "core/autograd.h"
#include "core/error.h"
#include "tests/golden/golden.h"

namespace pare::golden {

namespace {

// A sum of n products is off by about sqrt(n) 6e-8 of its rms; n is at most a few thousand here.
constexpr Tolerance kTolerance{.relative = 1e-5};

/// The inputs of a file as leaves, made when an op asks for them.
class Inputs {
 public:
  Inputs(const Golden& golden, bool image) : g(golden), image_(image) {}

  Tensor load(const std::string& name) const { return image_ ? g.image(name) : g.raw(name); }

  Tensor operator()(const std::string& name) {
    auto [it, fresh] = leaves_.try_emplace(name);
    if (fresh) {
      it->second = load(name);
      it->second.requires_grad_();
    }
    return it->second;
  }
  /// The first of these names that the file has.
  Tensor any(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      if (g.has(name)) return (*this)(name);
    }
    return (*this)(names.front());  // says which entries there are
  }
  Tensor optional(const std::string& name) { return g.has(name) ? (*this)(name) : Tensor{}; }
  const std::map<std::string, Tensor>& leaves() const { return leaves_; }

  const Golden& g;

 private:
  bool image_;
  std::map<std::string, Tensor> leaves_;
};

/// "max_pool_3_2_1" -> 3, 2, 1
std::vector<int> trailing_numbers(const std::string& name) {
  std::vector<int> numbers;
  size_t end = name.size();
  while (true) {
    size_t begin = end;
    while (begin > 0 && std::isdigit(static_cast<unsigned char>(name[begin - 1]))) --begin;
    if (begin == end || begin == 0 || name[begin - 1] != '_') return numbers;
    numbers.insert(numbers.begin(), std::stoi(name.substr(begin, end - begin)));
    end = begin - 1;
  }
}

int number_at(const std::vector<int>& numbers, size_t i, int otherwise) {
  return i < numbers.size() ? numbers[i] : otherwise;
}

PoolOptions pool_options(const Golden& g) {
  const std::vector<int> n = trailing_numbers(g.text("op", g.stem));
  const Hw kernel = g.pair("kernel", number_at(n, 0, 2));
  return {.kernel = kernel,
          .stride = g.pair("stride", number_at(n, 1, kernel.h)),
          .pad = g.pair("padding", number_at(n, 2, 0)),
          .ceil_mode = g.flag("ceil_mode", false),
          .count_include_pad = g.flag("count_include_pad", true)};
}

Tensor run_conv(Inputs& in) {
  const Golden& g = in.g;
  return conv2d(in("x"), in("weight"), in.optional("bias"),
                {.stride = g.pair("stride", 1),
                 .pad = g.pair("padding", 0),
                 .dilation = g.pair("dilation", 1),
                 .groups = g.integer("groups", 1)});
}

Tensor run_conv_transpose(Inputs& in) {
  const Golden& g = in.g;
  return conv_transpose2d(in("x"), in("weight"), in.optional("bias"),
                          {.stride = g.pair("stride", 1),
                           .pad = g.pair("padding", 0),
                           .output_pad = g.pair("output_padding", 0),
                           .dilation = g.pair("dilation", 1),
                           .groups = g.integer("groups", 1)});
}

Tensor run_cross_entropy(Inputs& in) {
  return cross_entropy(in.any({"logits", "x"}), in.load("target"),
                       in.g.number("label_smoothing", 0.0f));
}

Tensor run_clamp(Inputs& in) {
  const float lo = in.g.number("min", in.g.number("lo", 0.0f));
  return clamp(in("x"), lo, in.g.number("max", in.g.number("hi", 1.0f)));
}

Tensor run_leaky_relu(Inputs& in) {
  return leaky_relu(in("x"), in.g.number("slope", in.g.number("negative_slope", 0.01f)));
}

Tensor run_shuffle(Inputs& in) {
  const int fallback = number_at(trailing_numbers(in.g.text("op", in.g.stem)), 0, 1);
  return channel_shuffle(in("x"), in.g.integer("groups", fallback));
}

Tensor run_layer_norm(Inputs& in) {
  const Tensor gamma = in.g.has("weight") ? in("weight") : in.optional("gamma");
  const Tensor beta = in.g.has("bias") ? in("bias") : in.optional("beta");
  return layer_norm(in("x"), gamma, beta, in.g.number("eps", 1e-5f));
}

using Op = std::function<Tensor(Inputs&)>;
using Unary = Tensor (*)(const Tensor&);
using Binary = Tensor (*)(const Tensor&, const Tensor&);

Op unary(Unary f) {
  return [f](Inputs& in) { return f(in("x")); };
}

Op binary(Binary f) {
  return [f](Inputs& in) {
    return f(in.any({"a", "x", "input", "pred"}), in.any({"b", "x2", "other", "target"}));
  };
}

struct Row {
  Op op;
  bool image = true;  // four-dimensional data is NCHW
};

const std::map<std::string, Row>& table() {
  static const std::map<std::string, Row> rows = {
      {"conv2d", {run_conv}},
      {"conv_transpose2d", {run_conv_transpose}},
      {"max_pool", {[](Inputs& in) { return max_pool2d(in("x"), pool_options(in.g)); }}},
      {"avg_pool", {[](Inputs& in) { return avg_pool2d(in("x"), pool_options(in.g)); }}},
      {"global_avg_pool", {unary(global_avg_pool2d)}},
      {"channel_shuffle", {run_shuffle}},
      {"cross_entropy", {run_cross_entropy}},
      {"softmax", {unary(softmax)}},
      {"log_softmax", {unary(log_softmax)}},
      {"linear", {[](Inputs& in) { return linear(in("x"), in("weight"), in.optional("bias")); }}},
      {"layer_norm", {run_layer_norm, false}},
      {"matmul", {binary(matmul), false}},
      {"mse", {binary(mse_loss)}},
      {"add", {binary(add)}},
      {"sub", {binary(sub)}},
      {"mul", {binary(mul)}},
      {"div", {binary(div)}},
      {"flatten", {unary(flatten)}},
      {"relu", {unary(relu)}},
      {"relu6", {unary(relu6)}},
      {"leaky_relu", {run_leaky_relu}},
      {"hard_swish", {unary(hard_swish)}},
      {"silu", {unary(silu)}},
      {"gelu", {unary(gelu)}},
      {"sigmoid", {unary(sigmoid)}},
      {"tanh", {unary(tanh)}},
      {"exp", {unary(exp)}},
      {"log", {unary(log)}},
      {"sqrt", {unary(sqrt)}},
      {"abs", {unary(abs)}},
      {"square", {unary(square)}},
      {"clamp", {run_clamp}},
      {"round", {[](Inputs& in) { return round(in("x")); }}},
      {"sum", {[](Inputs& in) { return sum(in("x")); }}},
      {"mean", {[](Inputs& in) { return mean(in("x")); }}},
      {"var", {[](Inputs& in) { return var(in("x")); }}},
      {"max", {[](Inputs& in) { return max(in("x")); }}},
  };
  return rows;
}

/// The row whose name is the longest beginning of `name` ("softmax_c" -> "softmax", never "soft").
const Row& find(std::string name) {
  static const std::map<std::string, std::string> aliases = {
      {"hardswish", "hard_swish"},
      {"swish", "silu"},
      {"mse_loss", "mse"},
      {"adaptive_avg_pool", "global_avg_pool"}};
  for (std::string key = name; !key.empty(); key.resize(key.empty() ? 0 : key.size() - 1)) {
    const bool word_end = key.size() == name.size() || name[key.size()] == '_' ||
                          (key.size() + 1 < name.size() && name.compare(key.size(), 2, "2d") == 0);
    if (!word_end) continue;
    const auto alias = aliases.find(key);
    const auto it = table().find(alias == aliases.end() ? key : alias->second);
    if (it != table().end()) return it->second;
  }
  PARE_CHECK(false, "no op called '", name, "' in the table of tests/golden/ops.cpp");
  return table().begin()->second;
}

void check_batch_norm(const Golden& g, Checks& checks) {
  Inputs in(g, true);
  Tensor mean = g.raw("running_mean0").clone(), var = g.raw("running_var0").clone();
  BatchNormOptions options{.momentum = g.number("momentum", 0.1f), .eps = g.number("eps", 1e-5f)};
  const Tensor y =
      batch_norm(in("x"), in.optional("gamma"), in.optional("beta"), mean, var, options);
  checks.close("y", y, g.image("y"), kTolerance);
  y.backward(g.image("gy"));
  for (const auto& [name, leaf] : in.leaves()) {
    if (g.has("g" + name)) checks.close("g" + name, leaf.grad(), g.image("g" + name), kTolerance);
  }
  checks.close("running_mean1", mean, g.raw("running_mean1"), kTolerance);
  checks.close("running_var1", var, g.raw("running_var1"), kTolerance);
  if (!g.has("y_eval")) return;
  options.train = false;
  const Tensor eval =
      batch_norm(in("x"), in.optional("gamma"), in.optional("beta"), mean, var, options);
  checks.close("y_eval", eval, g.image("y_eval"), kTolerance);
}

}  // namespace

void check_op(const Golden& g, Checks& checks) {
  const std::string name = g.text("op", g.stem);
  if (name.rfind("batch_norm", 0) == 0) return check_batch_norm(g, checks);
  const Row& row = find(name);
  Inputs in(g, row.image);
  const Tensor y = row.op(in);
  const bool loss = g.has("loss");
  const Tensor want = in.load(loss ? "loss" : "y");
  checks.close(loss ? "loss" : "y", y, want, kTolerance);
  if (y.shape() != want.shape()) return;
  const bool seeded = g.has("gy");
  if (!seeded && y.numel() != 1) return;
  seeded ? y.backward(in.load("gy")) : y.backward();
  for (const auto& [input, leaf] : in.leaves()) {
    if (g.has("g" + input))
      checks.close("g" + input, leaf.grad(), in.load("g" + input), kTolerance);
  }
  // A gradient that no input answers to would otherwise go unchecked.
  for (const auto& [entry, value] : g.file.entries) {
    const bool known = entry == "gy" || entry[0] != 'g' || in.leaves().count(entry.substr(1)) > 0;
    if (!known && g.has(entry.substr(1))) checks.fail("no check reads the entry " + entry);
  }
}

}  // namespace pare::golden
