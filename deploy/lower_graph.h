#pragma once
// The graph between a trace and a program: what a network computes in eval mode, in few kinds of
// node, with quantizers where their codes begin.

#include <optional>
#include <string>
#include <vector>

#include "deploy/runtime/program.h"
#include "nn/codes.h"
#include "nn/trace.h"

namespace pare::deploy {

struct Node {
  enum class Kind : uint8_t {
    input,
    conv,      // linear layers too
    affine,    // scale x + shift per channel
    clamp,     // to lo .. hi
    quantize,  // to codes
    max_pool,
    avg_pool,
    add,
    mul,
    concat,
    shuffle,
    pad,
    flatten,
    function
  };
  std::string name = {};
  Kind kind = Kind::input;
  std::vector<int> inputs = {};
  int32_t h = 1, w = 1, c = 1;

  runtime::Window window = {};  // conv, pools
  int32_t groups = 1;           // conv, shuffle
  int32_t pad_before = 0;
  runtime::Function function = {};
  float slope = 0;  // leaky_relu
  float lo = -runtime::kInfinity, hi = runtime::kInfinity;
  std::vector<float> scale = {}, shift = {};  // affine

  Tensor weight = {}, bias = {};        // conv; weight as the network uses it
  std::optional<nn::Codes> codes = {};  // of the weight, or of a quantizer
  bool levels = false;  // the quantizer is clamp(a x, 0, 1) in so many levels, not x / scale

  bool moves() const {
    return kind == Kind::max_pool || kind == Kind::shuffle || kind == Kind::pad ||
           kind == Kind::flatten;
  }
};

struct Network {
  std::vector<Node> nodes;  // what a node uses comes before it
  int output = 0;

  Node& operator[](int i) { return nodes[static_cast<size_t>(i)]; }
  const Node& operator[](int i) const { return nodes[static_cast<size_t>(i)]; }
  int size() const { return static_cast<int>(nodes.size()); }
  std::vector<int> users(int i) const;
};

/// Throws on ops that have no counterpart.
Network read_network(const nn::TracedValues& traced);
/// Merges equal quantizers of one value, and moves quantizers in front of what only moves values.
void hoist_quantizers(Network& network);

}  // namespace pare::deploy
