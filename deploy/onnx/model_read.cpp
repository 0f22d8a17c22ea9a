// Bytes to structs. Numbers are those of the fields in onnx.proto; what networks do not need is
// passed over.

#include <cstring>

#include "core/error.h"
#include "deploy/onnx/model.h"
#include "deploy/onnx/wire.h"

namespace pare::onnx {

namespace {

std::string text(const WireReader& r) { return std::string(r.bytes()); }

void read_entry(WireReader r, std::map<std::string, std::string>& entries) {
  std::string key, value;
  while (r.next()) {
    if (r.field() == 1) key = text(r);
    if (r.field() == 2) value = text(r);
  }
  entries[key] = value;
}

/// Values in fields of their own, by their type.
struct Lists {
  std::vector<float> floats;
  std::vector<double> doubles;
  std::vector<int64_t> integers;
};

/// float_data and so on are what older writers use in place of raw_data.
void fill_from_lists(TensorData& t, const Lists& lists) {
  if (!t.bytes.empty()) return;
  if (!lists.floats.empty()) {
    t.bytes = floats(t.name, t.dims, lists.floats).bytes;
  } else if (!lists.doubles.empty()) {
    t.bytes.resize(lists.doubles.size() * sizeof(double));
    std::memcpy(t.bytes.data(), lists.doubles.data(), t.bytes.size());
  } else if (t.type == Type::float16) {  // its bits, as integers
    t.bytes = integers(t.name, Type::uint16, t.dims, lists.integers).bytes;
  } else if (t.type == Type::int4 || t.type == Type::uint4) {  // two in each integer
    for (int64_t pair : lists.integers) t.bytes.push_back(static_cast<char>(pair));
  } else if (!lists.integers.empty()) {
    t.bytes = integers(t.name, t.type, t.dims, lists.integers).bytes;
  }
}

TensorData read_tensor(WireReader r) {
  TensorData t;
  Lists lists;
  while (r.next()) {
    switch (r.field()) {
      case 1:
        r.append(t.dims);
        break;
      case 2:
        t.type = static_cast<Type>(r.integer());
        break;
      case 4:
        r.append(lists.floats);
        break;
      case 5:
      case 7:
      case 11:
        r.append(lists.integers);
        break;
      case 8:
        t.name = text(r);
        break;
      case 9:
        t.bytes = text(r);
        break;
      case 10:
        r.append(lists.doubles);
        break;
      case 14:
        PARE_CHECK(r.integer() == 0, "onnx: the values of ", t.name, " are in another file",
                   hint("save the model in one file"));
        break;
      default:
        break;
    }
  }
  for (int64_t d : t.dims) {
    PARE_CHECK(d >= 0 && d < int64_t{1} << 32, "onnx: ", t.name, " has a dimension of ", d);
  }
  fill_from_lists(t, lists);
  return t;
}

NodeAttribute read_attribute(WireReader r) {
  NodeAttribute a;
  std::vector<int64_t> ints;
  std::vector<float> numbers;
  int64_t type = 0;
  while (r.next()) {
    switch (r.field()) {
      case 1:
        a.name = text(r);
        break;
      case 2:
        a.value = r.number();
        break;
      case 3:
        a.value = r.integer();
        break;
      case 4:
        a.value = text(r);
        break;
      case 5:
        a.value = read_tensor(r.message());
        break;
      case 7:
        r.append(numbers);
        break;
      case 8:
        r.append(ints);
        break;
      case 20:
        type = r.integer();
        break;
      default:
        break;
    }
  }
  if (!numbers.empty() || type == 6) a.value = numbers;
  if (!ints.empty() || type == 7) a.value = ints;
  return a;
}

NodeProto read_node(WireReader r) {
  NodeProto n;
  while (r.next()) {
    switch (r.field()) {
      case 1:
        n.inputs.push_back(text(r));
        break;
      case 2:
        n.outputs.push_back(text(r));
        break;
      case 3:
        n.name = text(r);
        break;
      case 4:
        n.op = text(r);
        break;
      case 5:
        n.attributes.push_back(read_attribute(r.message()));
        break;
      case 6:
        n.note = text(r);
        break;
      case 7:
        n.domain = text(r);
        break;
      case 9:
        read_entry(r.message(), n.metadata);
        break;
      default:
        break;
    }
  }
  return n;
}

Dimension read_dimension(WireReader r) {
  Dimension d;
  while (r.next()) {
    if (r.field() == 1) d.size = r.integer();
    if (r.field() == 2) d.symbol = text(r);
  }
  return d;
}

void read_tensor_type(WireReader r, ValueInfo& value) {
  while (r.next()) {
    if (r.field() == 1) value.type = static_cast<Type>(r.integer());
    if (r.field() != 2) continue;
    for (WireReader shape = r.message(); shape.next();) {
      if (shape.field() == 1) value.dims.push_back(read_dimension(shape.message()));
    }
  }
}

ValueInfo read_value(WireReader r) {
  ValueInfo value;
  while (r.next()) {
    if (r.field() == 1) value.name = text(r);
    if (r.field() != 2) continue;
    for (WireReader type = r.message(); type.next();) {
      if (type.field() == 1) read_tensor_type(type.message(), value);
    }
  }
  return value;
}

GraphProto read_graph(WireReader r) {
  GraphProto g;
  while (r.next()) {
    switch (r.field()) {
      case 1:
        g.nodes.push_back(read_node(r.message()));
        break;
      case 2:
        g.name = text(r);
        break;
      case 5:
        g.initializers.push_back(read_tensor(r.message()));
        break;
      case 11:
        g.inputs.push_back(read_value(r.message()));
        break;
      case 12:
        g.outputs.push_back(read_value(r.message()));
        break;
      default:
        break;
    }
  }
  return g;
}

void read_opset(WireReader r, std::map<std::string, int64_t>& opsets) {
  std::string domain;
  int64_t version = 0;
  while (r.next()) {
    if (r.field() == 1) domain = text(r);
    if (r.field() == 2) version = r.integer();
  }
  opsets[domain == "ai.onnx" ? "" : domain] = version;
}

ModelProto read_model(WireReader r) {
  ModelProto m{.ir_version = 0, .opsets = {}, .producer = {}};
  bool has_graph = false;
  while (r.next()) {
    switch (r.field()) {
      case 1:
        m.ir_version = r.integer();
        break;
      case 2:
        m.producer = text(r);
        break;
      case 3:
        m.producer_version = text(r);
        break;
      case 7:
        m.graph = read_graph(r.message());
        has_graph = true;
        break;
      case 8:
        read_opset(r.message(), m.opsets);
        break;
      case 14:
        read_entry(r.message(), m.metadata);
        break;
      default:
        break;
    }
  }
  PARE_CHECK(has_graph && m.ir_version > 0, "it holds no graph", hint("this is no ONNX file"));
  return m;
}

}  // namespace

ModelProto parse_model(std::string_view bytes, const std::string& source) {
  try {
    return read_model(WireReader(bytes));
  } catch (const Error& e) {
    throw Error(source + ": " + e.what(), e.where());
  }
}

TensorData parse_tensor(std::string_view bytes) { return read_tensor(WireReader(bytes)); }

}  // namespace pare::onnx
