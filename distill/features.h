#pragma once
// Taps: what modules of a network, found by their paths, put out in its last forward pass.

#include <map>
#include <string>
#include <vector>

#include "nn/module.h"

namespace pare::distill {

/// While it lives, the outputs of these modules are kept, call by call. Forward passes without
/// gradients are only looked at with `always`.
class Taps final : public nn::ForwardObserver {
 public:
  /// Throws if a path is none of the model's; `who` names the model in the error.
  Taps(nn::Layer& model, const std::vector<std::string>& paths, const std::string& who,
       bool always = false);
  void after(nn::Module& module, const Tensor& x, const Tensor& y) override;

  /// The outputs of these paths, in this order. Throws if one was not called.
  std::vector<Tensor> of(const std::vector<std::string>& paths) const;
  void clear() { seen_.clear(); }
  void only_with_gradients() { always_ = false; }

 private:
  std::map<const nn::Module*, std::string> wanted_;
  std::map<std::string, Tensor> seen_;
  std::string who_;
  bool always_;
};

}  // namespace pare::distill
