#include "nn/metrics.h"

#include <algorithm>

#include "core/autograd.h"
#include "core/ops.h"

namespace pare::nn {

int64_t rank_of(std::span<const float> logits, int64_t y) {
  PARE_CHECK(y >= 0 && y < static_cast<int64_t>(logits.size()), "rank_of: class ", y,
             " is outside the ", logits.size(), " logits");
  const float mine = logits[static_cast<size_t>(y)];
  int64_t rank = 0;
  for (size_t c = 0; c < logits.size(); ++c) {
    if (static_cast<int64_t>(c) == y) continue;
    const bool behind = logits[c] < mine || (logits[c] == mine && static_cast<int64_t>(c) > y);
    rank += !behind;  // !: comparing with NaN is false
  }
  return rank;
}

void Score::add(const Tensor& logits, const Tensor& target, double batch_loss) {
  const int64_t n = logits.dim(0), classes = logits.dim(1);
  PARE_CHECK(target.dim(0) == n, "score: logits ", logits.shape(), " and target ", target.shape(),
             " have different batch sizes");
  const bool soft = target.dims() == 2;
  for (int64_t i = 0; i < n; ++i) {
    int64_t y = 0;
    if (soft) {
      const auto row =
          target.span().subspan(static_cast<size_t>(i * classes), static_cast<size_t>(classes));
      y = std::max_element(row.begin(), row.end()) - row.begin();
    } else {
      y = static_cast<int64_t>(target.span()[static_cast<size_t>(i)]);
    }
    const auto row =
        logits.span().subspan(static_cast<size_t>(i * classes), static_cast<size_t>(classes));
    const int64_t rank = rank_of(row, y);
    hits1 += rank < 1;
    hits5 += rank < 5;
  }
  samples += n;
  loss_sum += batch_loss * static_cast<double>(n);
}

Score& Score::operator+=(const Score& other) {
  samples += other.samples, hits1 += other.hits1, hits5 += other.hits5;
  loss_sum += other.loss_sum;
  return *this;
}

Score evaluate(Layer& model, BatchSource& source, const std::function<bool(const Score&)>& watch) {
  PARE_CHECK(model, "evaluate: the model is empty");
  const bool training = model->training;
  set_training(model, false);
  NoGrad guard;
  Score score;
  for (auto& [x, y] : source) {
    const Tensor logits = model(x);
    score.add(logits, y, cross_entropy(logits, y).item());
    if (watch && !watch(score)) break;
  }
  set_training(model, training);
  return score;
}

}  // namespace pare::nn
