// PACT: a learned clipping level for activations.    Choi et al. 2018, arXiv:1805.06085
//   s  = a / hi,   y = s clamp(round(x / s), 0, hi)           with signs: from -hi
//   dx = dy 1[0 <= x <= a]                                    with signs: 1[-a <= x <= a]
//   da = sum dy 1[x > a]                                      with signs: - sum dy 1[x < -a]
// s is a constant for the gradient. The paper adds an L2 penalty on a: give quantizers a weight
// decay. With signs the system we replace divides 2a by an odd number of steps, which puts a itself
// outside of the codes; here a is the largest code.

#include <algorithm>
#include <cmath>

#include "quant/grid_quantizer.h"

namespace pare::quant {

namespace {

struct Pact final : GridQuantizer {
  Pact(const QuantizerSpec& spec, const Site& site)
      : GridQuantizer(spec, site), start_(spec.number("clip")) {
    alpha = Tensor::full({1}, start_ > 0 ? start_ : 10.0f).requires_grad_();
  }
  void visit(nn::Visitor& v) override {
    v("alpha", alpha);
    GridQuantizer::visit(v);
  }
  nn::Codes codes_for(const Tensor& y) const override {
    nn::Codes c = GridQuantizer::codes_for(y);
    if (c.lo < 0) c.lo = -c.hi;
    return c;
  }
  std::vector<ScaleZero> parameters() const override {
    return {{std::fabs(alpha.item()) / grid().hi, 0}};
  }

  Tensor alpha;  // [1]

 protected:
  /// A given clipping level does not ask the data; whether there are signs still does.
  void set_ranges(const Observer& observer) override {
    if (start_ > 0) return;
    const Interval r = observer.ranges({grid(), false})[0];
    alpha.fill_(std::max(std::max(-r.min, r.max), kSmallestScale * grid().hi));
  }
  Tensor apply(const Tensor& x) override {
    FakeQuantOptions o = op_options();
    if (o.lo < 0) o.lo = -o.hi;
    o.clip = true;
    return fake_quant(x, alpha, {}, o);
  }

 private:
  float start_;
};

std::vector<Option> options(Role) {
  return {coding_option({"auto", "unsigned", "symmetric"},
                        {{"affine", "PACT clips at 0 and at a: its zero point is 0"}}),
          per_option({"tensor"},
                     {{"channel", "PACT learns one clipping level for a whole activation"}}),
          rounding_option(),
          {.name = "clip",
           .help = "first clipping level; 0: as the observer says",
           .min = 0,
           .max = 1e6,
           .usual = "10"},
          observer_option("minmax")};
}

}  // namespace

namespace parts {
QuantizerInfo pact() {
  return {.name = "pact",
          .summary = "a learned clipping level, arXiv:1805.06085",
          .no_weights = "PACT clips what a relu leaves open; take dorefa or lsq for weights",
          .options = options,
          .refuse = [](const QuantizerSpec& s) -> std::string {
            if (s.number("clip") == 0 || s.is("observer", "minmax")) return {};
            return "observer has no effect while clip says where to start; it does with clip=0";
          },
          .make = [](const QuantizerSpec& s, const Site& site) { return Pact(s, site); }};
}
}  // namespace parts

}  // namespace pare::quant
