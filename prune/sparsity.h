#pragma once
// Single weights made zero while training, and kept zero: any of them, or n:m, as sparse hardware
// reads them. The zeros are the mask: checkpoints need nothing else to be loaded or trained on.

#include <optional>
#include <string>
#include <vector>

#include "nn/module.h"

namespace pare::prune {

/// The n of every m neighbours along a filter's input channels that are largest stay.  2:4: Mishra
/// et al. 2021, arXiv:2104.08378
struct Pattern {
  int n = 2, m = 4;
  bool operator==(const Pattern&) const = default;
};
/// "2:4"
Pattern parse_pattern(const std::string& text);

/// How zeros are spread over the layers. uniform: the same share of each. erk, Erdős-Rényi-Kernel
/// (Evci et al. 2020, arXiv:1911.11134): a layer of shape [out, k, k, in] keeps
///   min(1, c (out + k + k + in) / (out k k in)),   c such that the whole is as sparse as asked
///   for,
/// so that small layers stay denser than big ones.
enum class Density { uniform, erk };

struct SparsityOptions {
  /// Share of the weights that becomes zero.
  double target = 0.8;
  Density density = Density::uniform;
  /// In its place. Input channels that do not divide by m end with a shorter run, in which n stay.
  std::optional<Pattern> pattern = {};
  /// In shares of the run: where zeros begin, and where the target is reached.
  double from = 0, until = 0.5;
  /// Layers that stay dense: paths, * stands for anything.
  std::vector<std::string> dense = {};
};

/// The share of the zeros that are there at t:  1 - (1 - (t - from) / (until - from))^3
/// Zhu & Gupta 2017, arXiv:1710.01878
double cubic_sparsity(double t, double from, double until);

/// The share of zeros of each of these weights.
std::vector<double> layer_sparsity(const std::vector<Shape>& weights, double target,
                                   Density density);

/// The largest `keep` of the magnitudes stay; of equal ones the first. Weights that were zero come
/// last.
void keep_largest(Tensor& weight, int64_t keep);
void keep_pattern(Tensor& weight, const Pattern& pattern);

/// Call update() after each optimizer step, with what share of the run is done. A new one for a
/// model that is partly zero goes on where the old one stopped.
class Sparsifier {
 public:
  Sparsifier(nn::Layer& model, SparsityOptions options);
  void update(double progress);

 private:
  struct Masked {
    Tensor weight;
    std::vector<bool> zero;
    double target = 0;
  };
  SparsityOptions options_;
  std::vector<Masked> weights_;
};

/// Zeros among the weights of convolutions and linear layers.
struct Sparsity {
  struct Row {
    std::string path;
    int64_t weights = 0, zeros = 0;
  };
  std::vector<Row> rows;

  int64_t weights() const;
  int64_t zeros() const;
};
Sparsity sparsity(nn::Layer& model);

}  // namespace pare::prune
