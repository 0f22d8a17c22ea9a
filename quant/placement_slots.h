#pragma once
// Where a quantizer can stand that only one reader of a value sees: found by running a copy of the
// model and watching which module's result goes where.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "nn/trace.h"
#include "quant/placement.h"

namespace pare::quant {

struct Slot {
  std::string path;
  Socket socket;
};

class Slots {
 public:
  Slots(const nn::Layer& model, const Tensor& example);

  /// For argument `operand` of a node of the model's graph; nothing: no place is only its own.
  std::optional<Slot> of(const nn::Graph& graph, int node, size_t operand) const;

 private:
  struct Call {
    std::vector<std::optional<Slot>> operands;
  };
  /// Ops by the path of their module and their name, in the order in which they ran.
  std::map<std::pair<std::string, std::string>, std::vector<Call>> calls_;
};

}  // namespace pare::quant
