#pragma once
// From a trained network to an integer program. What a quantizer stands in front of becomes
// integer, what has none stays float.

#include <ostream>
#include <string>
#include <vector>

#include "deploy/runtime/program.h"
#include "nn/module.h"

namespace pare::deploy {

/// What became of each convolution and linear layer; prints as a table.
struct LowerReport {
  struct Row {
    std::string name;
    std::string weights, input, output;  // "int8", "uint8", "signs", "float"
    int64_t macs = 0, bytes = 0;         // of an image; of the weights
    std::string note = {};               // why it is float although it is quantized
  };
  std::vector<Row> rows;
  int64_t bytes = 0;  // of the file
};
std::ostream& operator<<(std::ostream& out, const LowerReport& report);

struct Lowered {
  runtime::Program program;
  LowerReport report;
};

/// `example` [1, ...] is an input to trace the model with. Throws, naming the node, on what the
/// runtime cannot do.
Lowered lower(nn::Layer& model, const Tensor& example);

}  // namespace pare::deploy
