#pragma once
// The summary table: what is in a model and what it costs.

#include <string>
#include <vector>

#include "nn/module.h"

namespace pare::nn {

struct LayerRow {
  std::string path, type;  // type: Module::describe()
  Shape output;            // for a batch of one; no dimensions if the layer was not called
  int64_t params = 0;      // of this module itself, not of its children
  int64_t macs = 0;        // multiply-accumulates per image
  int64_t bits = 0;        // stored size; a quantized weight counts its real bits
};

/// A row for every module with parameters of its own or without children, in calling order.
/// Transforms in sockets have one only if they learn something; their scales count as parameters,
/// but their size is what StoredBits says.
struct Summary {
  std::vector<LayerRow> rows;
  int64_t params = 0, macs = 0;
  int64_t bytes_fp32 = 0;       // every parameter and buffer at 4 bytes, quantizers left out
  int64_t bytes_quantized = 0;  // weights at the bits their weight_fn says, the rest at 4 bytes
};

/// One forward of a zero image [1, H, W, C] in eval mode, observed layer by layer.
Summary summarize(Layer& model, const Shape& image);
/// An aligned table with a total line.
std::string table(const Summary& summary);

/// Implemented by transforms that store their weight in fewer bits (quantizers).
struct StoredBits {
  virtual ~StoredBits() = default;
  /// Bits that `weight` takes when really packed, with its scales.
  virtual int64_t stored_bits(const Tensor& weight) const = 0;
};

}  // namespace pare::nn
