// Structs to bytes. Numbers are those of the fields in onnx.proto.

#include <limits>

#include "core/error.h"
#include "deploy/onnx/model.h"
#include "deploy/onnx/wire.h"

namespace pare::onnx {

namespace {

void put(WireWriter& w, int field, const std::map<std::string, std::string>& entries) {
  for (const auto& entry : entries) {
    w.message(field, [&](WireWriter& e) {
      e.bytes(1, entry.first);
      e.bytes(2, entry.second);
    });
  }
}

void put(WireWriter& w, const TensorData& t) {
  for (int64_t d : t.dims) w.integer(1, d);
  w.integer(2, static_cast<int64_t>(t.type));
  if (!t.name.empty()) w.bytes(8, t.name);
  w.bytes(9, t.bytes);
}

/// One of the forms that an attribute's value may have: its field, and what AttributeProto.type
/// says.
struct AttributeWriter {
  WireWriter& w;
  void operator()(int64_t v) const { w.integer(3, v), w.integer(20, 2); }
  void operator()(float v) const { w.number(2, v), w.integer(20, 1); }
  void operator()(const std::string& v) const { w.bytes(4, v), w.integer(20, 3); }
  void operator()(const TensorData& v) const {
    w.message(5, [&](WireWriter& t) { put(t, v); });
    w.integer(20, 4);
  }
  void operator()(const std::vector<int64_t>& v) const {
    for (int64_t i : v) w.integer(8, i);
    w.integer(20, 7);
  }
  void operator()(const std::vector<float>& v) const {
    for (float f : v) w.number(7, f);
    w.integer(20, 6);
  }
};

void put(WireWriter& w, const NodeProto& n, int64_t ir_version) {
  for (const std::string& input : n.inputs) w.bytes(1, input);
  for (const std::string& output : n.outputs) w.bytes(2, output);
  w.bytes(3, n.name);
  w.bytes(4, n.op);
  for (const NodeAttribute& a : n.attributes) {
    w.message(5, [&](WireWriter& attribute) {
      attribute.bytes(1, a.name);
      std::visit(AttributeWriter{attribute}, a.value);
    });
  }
  if (!n.note.empty()) w.bytes(6, n.note);
  if (!n.domain.empty()) w.bytes(7, n.domain);
  if (ir_version >= 10) put(w, 9, n.metadata);
}

void put(WireWriter& w, const ValueInfo& value) {
  const auto dimension = [](WireWriter& d, const Dimension& of) {
    if (of.size >= 0) {
      d.integer(1, of.size);
    } else if (!of.symbol.empty()) {
      d.bytes(2, of.symbol);
    }
  };
  const auto shape = [&](WireWriter& s) {
    for (const Dimension& d : value.dims) s.message(1, [&](WireWriter& to) { dimension(to, d); });
  };
  w.bytes(1, value.name);
  w.message(2, [&](WireWriter& type) {
    type.message(1, [&](WireWriter& tensor) {
      tensor.integer(1, static_cast<int64_t>(value.type));
      tensor.message(2, shape);
    });
  });
}

void put(WireWriter& w, const GraphProto& g, int64_t ir_version) {
  for (const NodeProto& n : g.nodes) w.message(1, [&](WireWriter& to) { put(to, n, ir_version); });
  w.bytes(2, g.name);
  for (const TensorData& t : g.initializers) w.message(5, [&](WireWriter& to) { put(to, t); });
  for (const ValueInfo& v : g.inputs) w.message(11, [&](WireWriter& to) { put(to, v); });
  for (const ValueInfo& v : g.outputs) w.message(12, [&](WireWriter& to) { put(to, v); });
}

}  // namespace

std::string to_bytes(const ModelProto& model) {
  WireWriter w;
  w.integer(1, model.ir_version);
  w.bytes(2, model.producer);
  if (!model.producer_version.empty()) w.bytes(3, model.producer_version);
  w.message(7, [&](WireWriter& graph) { put(graph, model.graph, model.ir_version); });
  for (const auto& opset : model.opsets) {
    w.message(8, [&](WireWriter& o) {
      o.bytes(1, opset.first);
      o.integer(2, opset.second);
    });
  }
  put(w, 14, model.metadata);
  std::string bytes = w.take();
  PARE_CHECK(bytes.size() <= std::numeric_limits<int32_t>::max(), "onnx: the file would have ",
             bytes.size(), " bytes; readers of protocol buffers stop at 2 GiB");
  return bytes;
}

}  // namespace pare::onnx
