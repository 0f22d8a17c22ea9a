#pragma once
// A teacher that is the student's own moving average. Mean teacher, Tarvainen & Valpola 2017,
// arXiv:1703.01780:
//   t = d t + (1 - d) s  for every weight and buffer, after each step,
//   d = min(decay, (1 + n) / (10 + n)),  n updates done before

#include <vector>

#include "nn/module.h"

namespace pare::distill {

class EmaTeacher {
 public:
  /// Begins as a copy of the student, which must outlive this.
  EmaTeacher(const nn::Layer& student, float decay);

  void update();
  nn::Layer& network() { return network_; }
  /// All that it is, as buffers of one layer, which share the values: for a resume.
  nn::Layer state();

 private:
  nn::Layer network_;
  std::vector<nn::NamedTensor> live_, average_;
  Tensor updates_ = Tensor::zeros({1});
  float decay_;
};

}  // namespace pare::distill
