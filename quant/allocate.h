#pragma once
// Bits for each layer under a budget: mixed precision as a multiple-choice knapsack.
//   min over one choice for each layer of  sum loss   subject to  sum cost <= budget

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "quant/sensitivity.h"

namespace pare::quant {

/// One of the things that can be done with a layer.
struct Choice {
  double loss = 0;
  int64_t cost = 0;
};

struct Chosen {
  std::vector<size_t> index;  // by layer
  double loss = 0;
  int64_t cost = 0;
};

/// The best of all. Layer by layer, the sums that no other sum beats in both loss and cost are
/// kept, as far as the rest can still bring them within the budget and below the best solution
/// known: the smallest possible loss of the rest is bounded with a price on cost (Lagrange).
Chosen choose(const std::vector<std::vector<Choice>>& layers, int64_t budget);
/// What is at hand without searching: from the choices of least loss, the exchange that costs the
/// least loss for what it saves, until the budget is met.
Chosen choose_greedily(const std::vector<std::vector<Choice>>& layers, int64_t budget);

enum class Budget : uint8_t {
  size,       // bits of the model as it is stored: weights, scales, biases, batch norms
  mean_bits,  // of the quantized layers: sum of bits times weights
  bit_ops     // of one image: sum of multiply-accumulates times bits of weight times bits of input
};
/// Which loss of the weights counts; of inputs it is always the measured one.
enum class LossKind : uint8_t { measured, foretold };

struct BitPlan {
  struct Row {
    std::string path;
    int weight_bits = 32, input_bits = 32;
    double loss = 0;
    int64_t size = 0, bit_ops = 0;  // size: bits
  };
  std::vector<Row> rows = {};
  double loss = 0;                // sum of the rows'
  int64_t size = 0, bit_ops = 0;  // of the whole model
  double mean_bits = 0;           // of the quantized layers' weights
  Scheme scheme = {};
};
std::ostream& operator<<(std::ostream& out, const BitPlan& plan);

/// The bits of every layer. Inputs are part of the choice for bit_ops; for the other budgets, which
/// do not depend on them, they keep the bits of the scheme that was measured. `limit` is in bits,
/// in bits times weights, or in operations; a limit that the fewest bits exceed is refused.
BitPlan plan_bits(const Sensitivity& sensitivity, Budget budget, int64_t limit,
                  LossKind loss = LossKind::measured);

}  // namespace pare::quant
