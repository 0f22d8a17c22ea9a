#pragma once
// Making a program of a network, node by node. Private to deploy.

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "deploy/lower.h"
#include "deploy/lower_graph.h"
#include "deploy/lower_weights.h"

namespace pare::deploy {

/// What follows a node and is computed along with it: affine steps, then a clamp, then a quantizer;
/// each may be missing, and nothing else reads what is in between.
struct Chain {
  std::vector<const Node*> affine = {};
  const Node* clamp = nullptr;
  const Node* quantizer = nullptr;
  int last = 0;  // the node whose value comes out
};

class Lowering {
 public:
  explicit Lowering(Network network) : net_(std::move(network)) {}
  Lowered run();

 private:
  // --- lower.cpp: what the others share.

  void find_live();
  /// The only node that reads i, or -1.
  int only_user(int i) const;
  runtime::Buffer& buffer(int b) { return out_.program.buffers[static_cast<size_t>(b)]; }
  int buffer_of(int node) const { return buffer_of_[static_cast<size_t>(node)]; }
  runtime::Type type_of(int node) { return buffer(buffer_of(node)).type; }
  int add_buffer(const std::string& name, runtime::Type type, const Node& shape);
  /// A buffer for what a quantizer gives.
  int coded_buffer(const Node& q, const Node& shape);
  runtime::Op& add_op(runtime::OpKind kind, const std::string& name, std::vector<int32_t> inputs,
                      int output);
  /// The buffer of a node's value in that type; converts it once.
  int as(int node, runtime::Type type);
  Chain chain_of(int i, bool affine, bool clamp, bool quantizer) const;
  /// Notes that a chain was computed into a buffer.
  void take(int first, const Chain& chain, int buffer);
  void emit(int i);

  // --- lower_layers.cpp: convolutions and linear layers.

  /// y = scale raw + bias
  struct Line {
    double scale, bias;
  };
  static Line along(Line line, const Chain& chain, int64_t channel);
  /// What x is multiplied by before it is rounded.
  static double steps(const Node& q) { return double{q.codes->input_scale} / q.codes->scale[0]; }
  static void set_limits(runtime::Finish& f, const Chain& chain);
  void conv(int i);
  /// What one unit of raw is in the network.
  double worth(const PackedWeight& w, int in, int64_t filter);
  void scales(const Node& n, const PackedWeight& w, int in, const Chain& chain, runtime::Finish& f);
  /// For each filter, from which raw number on the sign is +1, or no longer is where it falls with
  /// raw; asked of the float functions themselves.
  void thresholds(const Node& n, const PackedWeight& w, int in, const Chain& chain,
                  runtime::Finish& f);
  void report(const runtime::Op& op, const std::string& note);

  // --- lower_values.cpp: all else.

  void sum(int i);
  void average(int i);
  /// A batch norm or nonlinearity of its own.
  void affine(int i);
  void quantize(int i);
  void of_floats(int i);
  /// Moves values in whatever type they are.
  void move(int i);

  Network net_;
  std::vector<bool> live_, done_;
  std::vector<int> buffer_of_;  // by node
  std::map<std::pair<int, runtime::Type>, int> converted_;
  Lowered out_;
};

}  // namespace pare::deploy
