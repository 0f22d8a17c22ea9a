#include <fmt/format.h>

#include <functional>

#include "nn/text.h"
#include "nn/trace.h"

namespace pare::nn {

namespace {

using Node = Graph::Node;

std::string text(const Attribute::Value& value) {
  return std::visit(
      [](const auto& v) {
        std::ostringstream out;
        out << std::boolalpha << v;
        return out.str();
      },
      value);
}

/// Says nothing new: what an option is in most nets.
bool usual(const Attribute& a) {
  const std::string_view name = a.name;
  if (name == "stride" || name == "dilation" || name == "groups") return text(a.value) == "1";
  if (name == "pad" || name == "output_pad") return text(a.value) == "0";
  return name == "ceil_mode" && text(a.value) == "false";
}

std::string options(const Node& n) {
  std::string line;
  for (const Attribute& a : n.attributes) {
    if (usual(a)) continue;
    line += fmt::format("{}{}={}", line.empty() ? "" : ", ", a.name, text(a.value));
  }
  return line;
}

/// "weight [16, 3, 3, 3]": without the path of the module that uses it.
std::string short_name(const Node& tensor, const Node& user) {
  const std::string prefix = user.path + ".";
  const bool own = !user.path.empty() && tensor.name.rfind(prefix, 0) == 0;
  return (own ? tensor.name.substr(prefix.size()) : tensor.name) + " " + tensor.shape.str();
}

/// Names of what a node is computed from: values of the forward, or tensors that were there before.
std::string sources(const Graph& g, const Node& n, bool tensors) {
  std::string line;
  for (const auto* list : {&n.inputs, &n.state}) {
    for (int i : *list) {
      if (i == Graph::kNone || g[i].is_tensor() != tensors) continue;
      line += (line.empty() ? "" : ", ") + (tensors ? short_name(g[i], n) : g[i].name);
    }
  }
  return line;
}

/// f(index, node) for every node that is drawn: tensors stand beside what uses them.
void for_each_op(const Graph& g, const std::function<void(int, const Node&)>& f) {
  for (int i = 0; i < g.size(); ++i) {
    if (!g[i].is_tensor()) f(i, g[i]);
  }
}

void for_each_edge(const Graph& g, const std::function<void(int from, int to)>& f) {
  for_each_op(g, [&](int to, const Node& n) {
    for (int from : n.inputs) {
      if (from != Graph::kNone && !g[from].is_tensor()) f(from, to);
    }
  });
}

/// What stands in a box: name, op with options, shape.
std::string label(const Node& n, const char* newline) {
  std::string op = n.op == n.name ? "" : newline + n.op;
  if (const std::string o = options(n); !o.empty()) op += " " + o;
  return n.name + op + newline + n.shape.str();
}

std::string replaced(std::string text, char what, const std::string& by) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size()) {
    text.replace(at, 1, by);
  }
  return text;
}

}  // namespace

std::string table(const Graph& graph) {
  std::vector<std::vector<std::string>> rows{
      {"node", "op", "from", "output", "options", "parameters"}};
  for_each_op(graph, [&](int, const Node& n) {
    rows.push_back({n.name, n.op, sources(graph, n, false), n.shape.str(), options(n),
                    sources(graph, n, true)});
  });
  return columns(rows) + "output: " + graph[graph.output].name + "\n";
}

std::string graphviz(const Graph& graph) {
  std::string text = "digraph model {\n  node [shape=box, fontname=\"sans-serif\"];\n";
  for_each_op(graph, [&](int i, const Node& n) {
    text += fmt::format("  n{} [label=\"{}\"];\n", i, replaced(label(n, "\\n"), '"', "\\\""));
  });
  for_each_edge(graph, [&](int from, int to) { text += fmt::format("  n{} -> n{};\n", from, to); });
  return text + "}\n";
}

std::string mermaid(const Graph& graph) {
  std::string text = "flowchart TD\n";
  for_each_op(graph, [&](int i, const Node& n) {
    text += fmt::format("  n{}[\"{}\"]\n", i,
                        replaced(replaced(label(n, "<br/>"), '#', "#35;"), '"', "#quot;"));
  });
  for_each_edge(graph, [&](int from, int to) { text += fmt::format("  n{} --> n{}\n", from, to); });
  return text;
}

}  // namespace pare::nn
