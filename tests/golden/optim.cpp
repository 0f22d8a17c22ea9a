// optim/*: p0 [n], grads [steps, n], params [steps, n] after each step. The name says which
// optimizer.

#include "nn/optim.h"

#include "core/error.h"
#include "tests/golden/golden.h"

namespace pare::golden {

namespace {

// Ten steps of a few roundings each, and m / sqrt(v) where v is the square of a sum: two digits in
// reserve.
constexpr Tolerance kTolerance{.relative = 1e-5};

std::unique_ptr<nn::Optimizer> make(const Golden& g, std::vector<nn::ParamGroup> groups) {
  for (const char* option : {"amsgrad", "maximize"}) {
    PARE_CHECK(!g.flag(option, false), "optimizer: no support for ", option);
  }
  const float lr = g.number("lr", 0.01f);
  if (g.stem.rfind("sgd", 0) == 0) {
    return nn::sgd(std::move(groups), {.lr = lr,
                                       .momentum = g.number("momentum", 0.0f),
                                       .dampening = g.number("dampening", 0.0f),
                                       .nesterov = g.flag("nesterov", false)});
  }
  const std::vector<float> betas = g.list("betas", {0.9f, 0.999f});
  const nn::AdamOptions options{
      .lr = lr, .beta1 = betas.at(0), .beta2 = betas.at(1), .eps = g.number("eps", 1e-8f)};
  if (g.stem.rfind("adamw", 0) == 0) return nn::adamw(std::move(groups), options);
  PARE_CHECK(g.stem.rfind("adam", 0) == 0, "optimizer: the name ", g.stem,
             " does not begin with sgd, adam or adamw");
  return nn::adam(std::move(groups), options);
}

Tensor row(const Tensor& t, int64_t i) {
  const size_t n = static_cast<size_t>(t.dim(1));
  return Tensor::of(t.span().subspan(static_cast<size_t>(i) * n, n), {t.dim(1)});
}

}  // namespace

void check_optimizer(const Golden& g, Checks& checks) {
  const Tensor grads = g.raw("grads"), params = g.raw("params");
  Tensor p = g.raw("p0");
  p.requires_grad_();
  const float decay = g.number("weight_decay", 0.0f);
  const auto optimizer = make(g, {{.params = {{"p", p}}, .weight_decay = decay}});
  for (int64_t step = 0; step < grads.dim(0); ++step) {
    p.set_grad(row(grads, step));
    optimizer->step();
    checks.close(str("params after step ", step + 1), p, row(params, step), kTolerance);
  }
}

}  // namespace pare::golden
