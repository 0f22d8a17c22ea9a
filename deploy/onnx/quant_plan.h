#pragma once
// Where QuantizeLinear and DequantizeLinear go. A runtime computes a layer in integers if what it
// reads is dequantized and what it makes is read by one QuantizeLinear and nothing else; it adds
// and pools in integers likewise, and moves bytes where both sides have the same grid. So:
//   - what an integer layer or a sum of such makes gets the grid that its readers ask for, through
//     ops that only move values, if they agree; else one of their 8-bit grids, or that of the range
//     on the example;
//   - both operands of such a sum get one;
//   - an op that only moves values, or pools, gets the grid that its readers agree on;
//   - in front of binary and ternary activations nothing is added: it would move values across
//     their thresholds.

#include <optional>
#include <vector>

#include "deploy/onnx/activation_grid.h"
#include "deploy/onnx/facts.h"

namespace pare::onnx {

class QuantPlan {
 public:
  /// `integer_layer` by node: its weights have codes that a file can hold.
  QuantPlan(const nn::TracedValues& traced, const Facts& facts, const ExportOptions& options,
            const std::vector<bool>& integer_layer);

  /// The grid of the pair put behind a value; nothing: none is.
  const std::optional<ActivationGrid>& fill(int i) const { return fill_[static_cast<size_t>(i)]; }
  /// Codes keep what reads this value from seeing more than Facts::upper.
  bool is_clipped(int i) const;
  /// Of a quantizer of the model.
  ActivationGrid grid(int quantizer) const;

 private:
  struct Wish {
    bool agreed = false, blocked = false, only_quantizers = true;
    std::optional<ActivationGrid> grid = {};  // if agreed; else one with 8 bits, or nothing
  };

  bool find_inside(int i) const;
  bool is_head(int i) const;
  bool is_absorbed(int i) const;
  bool feeds_sum(int i) const;
  Wish wish(int i) const;
  Wish wish_of(int reader) const;
  std::optional<ActivationGrid> choose(int i) const;
  ActivationGrid measured(int i) const;
  bool inside(int i) const { return inside_[static_cast<size_t>(i)]; }

  const nn::Graph& graph_;
  const std::vector<Tensor>& values_;
  const Facts& facts_;
  const ExportOptions& options_;
  const std::vector<bool>& integer_layer_;
  std::vector<bool> inside_;  // made of dequantized values
  std::vector<std::optional<ActivationGrid>> fill_;
};

}  // namespace pare::onnx
