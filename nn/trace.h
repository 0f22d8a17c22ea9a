#pragma once
// The graph of a model, learned from one forward: what is computed from what, with which options
// and parameters, and in which module. What quantizer placement, folding, pruning, lowering and
// export work on.

#include <string>
#include <string_view>
#include <vector>

#include "core/op_observer.h"
#include "nn/module.h"

namespace pare::nn {

struct Graph {
  /// One value and how it is computed.
  struct Node {
    std::string name =
        {};  // unique: the path of its module, with the op where that computes several
    /// What core/ops recorded, or one of kInput, kParameter, kBuffer, kConstant.
    std::string op = {};
    std::vector<Attribute> attributes = {};  // options of the op
    std::vector<int> inputs = {};            // arguments of the op in order; kNone: left out
    std::vector<int> state = {};  // tensors used outside of the tape: running mean, variance
    std::vector<int> users = {};  // nodes with this one in inputs or state, each once
    Shape shape = {};
    std::string path = {};     // of the module in whose forward it was computed
    Module* module = nullptr;  // that module, a part of the traced model
    Tensor tensor = {};        // of a parameter, buffer or constant; shares the model's values

    /// A value that was there before the forward.
    bool is_tensor() const { return static_cast<bool>(tensor); }
    /// The module, if it is an M, else null.
    template <class M>
    M* as() const {
      return dynamic_cast<M*>(module);
    }
    const Attribute* find(std::string_view attribute) const;  // null: it has none of that name
    template <class T>
    const T& get(std::string_view attribute) const {
      const Attribute* a = find(attribute);
      const T* value = a ? std::get_if<T>(&a->value) : nullptr;
      if (!value) fail_attribute(attribute);
      return *value;
    }

   private:
    [[noreturn]] void fail_attribute(std::string_view attribute) const;
  };

  static constexpr int kNone = -1;
  static constexpr const char *kInput = "input", *kParameter = "parameter", *kBuffer = "buffer",
                              *kConstant = "constant";

  std::vector<Node> nodes;  // what a node uses comes before it; all lead to the output
  int input = kNone, output = kNone;

  const Node& operator[](int i) const { return nodes[static_cast<size_t>(i)]; }
  int size() const { return static_cast<int>(nodes.size()); }
  /// The node of that name, or kNone.
  int find(std::string_view name) const;
  /// The argument at `position`, or kNone.
  int input_of(int node, size_t position) const;
};

/// Runs the model once on `example` [N, ...], in eval mode, without a tape and without fusion. The
/// model and its modes stay as they are; it must outlive the graph's module pointers.
Graph trace(Layer& model, const Tensor& example);

struct TracedValues {
  Graph graph;
  std::vector<Tensor> values;  // by node
};
/// The same, and keeps what each node computed.
TracedValues trace_values(Layer& model, const Tensor& example);

/// One aligned line per op, parameters beside the op that uses them.
std::string table(const Graph& graph);
/// For `dot -Tsvg`.
std::string graphviz(const Graph& graph);
/// For Markdown that draws mermaid charts.
std::string mermaid(const Graph& graph);

}  // namespace pare::nn
