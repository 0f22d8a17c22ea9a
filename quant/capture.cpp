#include "quant/capture.h"

#include "core/autograd.h"
#include "core/error.h"

namespace pare::quant {

namespace {

/// Not an error: the rest of the forward is of no interest.
struct Reached {};

class Watch final : public nn::ForwardObserver {
 public:
  Watch(const nn::Module& layer, const LayerCall& f) : layer_(layer), f_(f) {}
  void after(nn::Module& module, const Tensor& x, const Tensor& y) override {
    if (&module != &layer_) return;
    f_(x, y);
    throw Reached{};
  }

 private:
  const nn::Module& layer_;
  const LayerCall& f_;
};

}  // namespace

void run_until(nn::Layer& model, const nn::Module& layer, const Tensor& x, const LayerCall& f) {
  const NoGrad guard;
  const nn::EvalMode eval(model);
  const Watch watch(layer, f);
  try {
    model(x);
  } catch (const Reached&) {
    return;
  }
  throw Error(str("quant: ", layer.path, " is not called when the model runs"), "run_until");
}

}  // namespace pare::quant
