#pragma once
// Which tensors of a model get quantizers, decided on its graph (nn/trace.h) and put down as a plan
// that can be read before anything happens:
//   - a value is quantized where it is read: at the input of a convolution, a linear layer, an
//     average pool, a nonlinearity on its own; two readers have two quantizers;
//   - batch norm and nonlinearity directly behind a convolution, linear layer or sum are computed
//     along with it and read nothing that is stored: they get none;
//   - max pool, flatten, shuffle, padding and concatenation only move values; what reads the result
//     quantizes it as a whole, so that what is concatenated shares one scale;
//   - both operands of a sum, each with a scale of its own, if asked for.

#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "quant/attach.h"

namespace pare::quant {

/// Where at a module a quantizer stands.
enum class Socket : uint8_t { weight, input, output };

/// One quantizer. Weights and inputs of convolutions and linear layers have sockets; other modules
/// are put into a Quantized, and so is an empty place whose value is to be quantized.
struct Placement {
  std::string path;  // of the module
  Socket socket = Socket::input;
  QuantizerSpec spec = {};
  int64_t channels = 0;  // of the value it quantizes, where there is no layer to ask

  bool operator==(const Placement&) const = default;
};
/// "layer1.0.conv1.weight_fn"
std::string to_string(const Placement& placement);
/// Path and socket from that text.
Placement parse_placement(const std::string& text);

/// "uniform:8,observer=mse": what is not usual.
std::string to_string(const QuantizerSpec& spec);
QuantizerSpec parse_spec(const std::string& text, Role role);

/// y = output_fn(wrapped(input_fn(x))): for modules without sockets. An empty part is the identity.
struct Quantized final : nn::Module {
  Tensor forward(const Tensor& x) override { return output_fn(wrapped(input_fn(x))); }
  void visit(nn::Visitor& v) override {
    v("wrapped", wrapped)("input_fn", input_fn)("output_fn", output_fn);
  }
  std::string describe() const override;

  nn::Layer wrapped, input_fn, output_fn;
};

struct Plan {
  enum class Kind : uint8_t {
    quantized,
    follows,  // computed along with what is in front of it
    passes,   // only moves values
    stays     // float
  };
  struct Row {
    std::string node, op;  // of the graph
    std::string value;     // "weight", or the node whose value is read
    Kind kind = Kind::stays;
    std::optional<Placement> placement = {};
    std::string why = {};
  };
  std::vector<Row> rows;  // in the order of the graph

  std::vector<Placement> placements() const;
  int64_t count(Kind kind) const;
};
const char* name_of(Plan::Kind kind);
/// As a table; what follows or passes is only counted.
std::ostream& operator<<(std::ostream& out, const Plan& plan);

/// What a weight or a value gets; nothing: it stays float. `layer` is null where a value is read by
/// something that is neither convolution nor linear; `name` is that of the node that reads.
using SpecRule = std::function<std::optional<QuantizerSpec>(Role role, const std::string& name,
                                                            const LayerInfo* layer)>;

struct PlacementRules {
  SpecRule spec;
  std::vector<std::string> skip = {};      // modules left alone; see fits()
  std::vector<std::string> patterns = {};  // of `spec`: each must fit something
  bool chains = true;  // what is directly behind a convolution, linear layer or sum follows it
  bool sums = false;   // quantize operands of sums
};

/// Whether a node's name fits: * is anything, and dots may be written as underscores; "first" and
/// "last" are the first and the last layer.
bool fits(const std::string& pattern, const std::string& name, const LayerInfo* layer = nullptr);

/// For a model without quantizers. `example` is an input to trace it with.
Plan plan(nn::Layer& model, const Tensor& example, const PlacementRules& rules);

/// Puts quantizers in; the report lists the layers, as attach() does, and then everything else.
Report place(nn::Layer& model, const std::vector<Placement>& placements);

}  // namespace pare::quant
