#pragma once
// Deep compression, Han et al. 2016, arXiv:1510.00149: the weights that are not zero as indices
// into a codebook, with the number of zeros before each, both in Huffman's code. What is lost is
// lost when weights become shared; the rest is exact.

#include <cstdint>
#include <iosfwd>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "nn/module.h"

namespace pare::prune {

struct PackOptions {
  int conv_bits = 8, linear_bits = 5;  // of the codebooks
  int conv_gap = 8, linear_gap = 5;    // bits of a number of zeros, before Huffman's code
};

/// Bits of one weight's codes and gaps.
struct CodeBits {
  int code, gap;
};
/// Of every weight of a convolution or linear layer, by name.
std::map<std::string, CodeBits> coded_weights(nn::Layer& model, const PackOptions& options);

/// Bytes after each step, of all tensors of the model.
struct PackReport {
  struct Row {
    std::string name = {};                                 // of a weight
    int64_t weights = 0, nonzeros = 0, values = 0;         // values: different ones
    double dense = 0, sparse = 0, shared = 0, packed = 0;  // bytes
  };
  std::vector<Row> rows;
  double other = 0;  // bytes of biases, norms and statistics, which stay as they are
  Row total() const;
};
std::ostream& operator<<(std::ostream& out, const PackReport& report);

struct Packed {
  std::vector<uint8_t> bytes;
  PackReport report;
};
/// Weights of convolutions and linear layers become shared values, in the model too: it is what the
/// bytes hold.
Packed pack(nn::Layer& model, const PackOptions& options);
/// Fills a model of the same shape. Throws on bytes that are damaged or of another model.
void unpack(std::span<const uint8_t> bytes, nn::Layer& model);

}  // namespace pare::prune
