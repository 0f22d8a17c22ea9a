#pragma once
// An ONNX file in memory: what of onnx.proto networks for images use. Field numbers are in
// model_write.cpp and model_read.cpp.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace pare::onnx {

/// TensorProto.DataType
enum class Type : int {
  float32 = 1,
  uint8 = 2,
  int8 = 3,
  uint16 = 4,
  int16 = 5,
  int32 = 6,
  int64 = 7,
  boolean = 9,
  float16 = 10,
  float64 = 11,
  uint4 = 21,
  int4 = 22
};
/// "int8"; for others their number.
std::string type_name(Type type);
/// Bytes that so many values take; two 4-bit ones share a byte, the first in its low half.
int64_t byte_count(Type type, int64_t values);

struct TensorData {
  std::string name;
  Type type = Type::float32;
  std::vector<int64_t> dims;  // none: a single value
  std::string bytes;          // little-endian, row-major

  int64_t numel() const;
};
TensorData floats(const std::string& name, const std::vector<int64_t>& dims,
                  const std::vector<float>& values);
/// Of any integer type; values that it cannot hold are an error.
TensorData integers(const std::string& name, Type type, const std::vector<int64_t>& dims,
                    const std::vector<int64_t>& values);
/// Values of any numeric type, as numbers.
std::vector<float> float_values(const TensorData& t);
std::vector<int64_t> integer_values(const TensorData& t);

struct NodeAttribute {
  using Value = std::variant<int64_t, float, std::string, TensorData, std::vector<int64_t>,
                             std::vector<float>>;
  std::string name;
  Value value;
};

struct NodeProto {
  std::string op, name, domain = {};
  std::vector<std::string> inputs, outputs;  // "": left out
  std::vector<NodeAttribute> attributes = {};
  std::string note = {};                             // doc_string
  std::map<std::string, std::string> metadata = {};  // written from IR version 10 on

  const NodeAttribute* find(std::string_view attribute) const;
};

struct Dimension {
  int64_t size = -1;        // -1: any
  std::string symbol = {};  // "N"
};
struct ValueInfo {
  std::string name;
  Type type = Type::float32;
  std::vector<Dimension> dims = {};
};

struct GraphProto {
  std::string name;
  std::vector<NodeProto> nodes;  // what a node reads comes before it
  std::vector<TensorData> initializers;
  std::vector<ValueInfo> inputs, outputs;
};

struct ModelProto {
  int64_t ir_version = 7;
  std::map<std::string, int64_t> opsets = {{"", 13}};  // by domain; "" is ONNX itself
  std::string producer = "pare", producer_version = {};
  GraphProto graph = {};
  std::map<std::string, std::string> metadata = {};

  int64_t opset() const;
};

std::string to_bytes(const ModelProto& model);
/// `source` names the file in errors.
ModelProto parse_model(std::string_view bytes, const std::string& source);
/// A single TensorProto, as test vectors are stored.
TensorData parse_tensor(std::string_view bytes);

}  // namespace pare::onnx
