#include "prune/shared.h"

#include "nn/state.h"
#include "prune/codebook.h"

namespace pare::prune {

SharedWeights::SharedWeights(nn::Layer& model, const PackOptions& options) {
  std::map<std::string, Tensor> state = nn::state_dict(model);
  for (const auto& [name, bits] : coded_weights(model, options)) {
    Shared s{.weight = state.at(name), .codes = {}};
    std::vector<float> nonzero;
    for (float w : s.weight.span()) {
      if (w != 0) nonzero.push_back(w);
    }
    const Codebook book = share_values(nonzero, bits.code);
    s.values = book.centroids.size();
    size_t next = 0;
    for (float& w : s.weight.span()) {
      const uint32_t code = w == 0 ? 0 : book.codes[next++] + 1;
      if (code > 0) w = book.centroids[code - 1];
      s.codes.push_back(code);
    }
    weights_.push_back(std::move(s));
  }
  PARE_CHECK(!weights_.empty(), "shared weights: the model has no convolution or linear layer");
}

void SharedWeights::sum_gradients() {
  for (Shared& s : weights_) {
    if (!s.weight.grad()) continue;
    Tensor grad = s.weight.grad().clone();
    std::vector<double> sums(s.values + 1);
    for (size_t i = 0; i < s.codes.size(); ++i) sums[s.codes[i]] += grad.data()[i];
    sums[0] = 0;
    for (size_t i = 0; i < s.codes.size(); ++i) {
      grad.data()[i] = static_cast<float>(sums[s.codes[i]]);
    }
    s.weight.set_grad(grad);
  }
}

}  // namespace pare::prune
