#include "distill/ema_teacher.h"

#include <algorithm>

#include "core/kernels/optim.h"
#include "core/parallel.h"

namespace pare::distill {

namespace {

std::vector<nn::NamedTensor> state_of(const nn::Layer& model) {
  std::vector<nn::NamedTensor> state = nn::parameters(model);
  for (nn::NamedTensor& b : nn::buffers(model)) state.push_back(std::move(b));
  return state;
}

struct Kept final : nn::Module {
  explicit Kept(std::vector<nn::NamedTensor> t) : tensors(std::move(t)) {}
  Tensor forward(const Tensor& x) override { return x; }
  void visit(nn::Visitor& v) override {
    for (nn::NamedTensor& t : tensors) v.buffer(t.name, t.tensor);
  }
  std::string describe() const override { return "EmaTeacher"; }

  std::vector<nn::NamedTensor> tensors;
};

}  // namespace

EmaTeacher::EmaTeacher(const nn::Layer& student, float decay)
    : network_(student), live_(state_of(student)), average_(state_of(network_)), decay_(decay) {
  PARE_CHECK(decay > 0 && decay < 1, "ema teacher: decay must be between 0 and 1, got ", decay);
}

void EmaTeacher::update() {
  float& count = updates_.data()[0];
  const float take = 1 - std::min(decay_, (1 + count) / (10 + count));
  count += 1;
  for (size_t i = 0; i < live_.size(); ++i) {
    const float* w = live_[i].tensor.data();
    float* e = average_[i].tensor.data();
    parallel_for(live_[i].tensor.numel(), kGrain,
                 [&](Range r) { kernels::lerp(take, w + r.begin, e + r.begin, r.size()); });
  }
}

nn::Layer EmaTeacher::state() {
  std::vector<nn::NamedTensor> all = average_;
  all.push_back({"updates", updates_});
  return Kept(std::move(all));
}

}  // namespace pare::distill
