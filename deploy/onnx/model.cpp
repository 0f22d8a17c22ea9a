#include "deploy/onnx/model.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"

namespace pare::onnx {

namespace {

struct TypeInfo {
  const char* name;
  int bits;
  double lo = 0, hi = 0;  // of integers
};

const TypeInfo* info_of(Type type) {
  static const std::map<Type, TypeInfo> kTypes = {
      {Type::float32, {"float32", 32}},
      {Type::float16, {"float16", 16}},
      {Type::float64, {"float64", 64}},
      {Type::uint8, {"uint8", 8, 0, 255}},
      {Type::int8, {"int8", 8, -128, 127}},
      {Type::uint16, {"uint16", 16, 0, 65535}},
      {Type::int16, {"int16", 16, -32768, 32767}},
      {Type::int32, {"int32", 32, -2147483648.0, 2147483647.0}},
      {Type::int64, {"int64", 64, -0x1p63, 0x1p63}},
      {Type::boolean, {"bool", 8, 0, 1}},
      {Type::uint4, {"uint4", 4, 0, 15}},
      {Type::int4, {"int4", 4, -8, 7}}};
  const auto it = kTypes.find(type);
  return it == kTypes.end() ? nullptr : &it->second;
}

template <class T>
T element(const std::string& bytes, int64_t i) {
  T value;
  std::memcpy(&value, bytes.data() + static_cast<size_t>(i) * sizeof(T), sizeof(T));
  return value;
}

/// IEEE half precision.
float half_value(uint16_t half) {
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  const float sign = half >> 15 ? -1.0f : 1.0f;
  if (exponent == 31) {
    return fraction ? std::numeric_limits<float>::quiet_NaN()
                    : sign * std::numeric_limits<float>::infinity();
  }
  return exponent ? sign * std::ldexp(static_cast<float>(1024 + fraction), exponent - 25)
                  : sign * std::ldexp(static_cast<float>(fraction), -24);
}

int64_t nibble(const std::string& bytes, int64_t i, bool is_signed) {
  const auto byte = static_cast<unsigned char>(bytes[static_cast<size_t>(i / 2)]);
  const int value = i % 2 ? byte >> 4 : byte & 15;
  return is_signed && value > 7 ? value - 16 : value;
}

/// f of every element, as the type that it is stored in.
template <class F>
void for_each_element(const TensorData& t, F&& f) {
  const int64_t n = t.numel();
  PARE_CHECK(static_cast<int64_t>(t.bytes.size()) == byte_count(t.type, n), "onnx: tensor ", t.name,
             " of ", n, " ", type_name(t.type), " values has ", t.bytes.size(), " bytes");
  for (int64_t i = 0; i < n; ++i) {
    switch (t.type) {
      case Type::float32:
        f(element<float>(t.bytes, i));
        break;
      case Type::float16:
        f(half_value(element<uint16_t>(t.bytes, i)));
        break;
      case Type::float64:
        f(element<double>(t.bytes, i));
        break;
      case Type::uint8:
      case Type::boolean:
        f(element<uint8_t>(t.bytes, i));
        break;
      case Type::int8:
        f(element<int8_t>(t.bytes, i));
        break;
      case Type::uint16:
        f(element<uint16_t>(t.bytes, i));
        break;
      case Type::int16:
        f(element<int16_t>(t.bytes, i));
        break;
      case Type::int32:
        f(element<int32_t>(t.bytes, i));
        break;
      case Type::int64:
        f(element<int64_t>(t.bytes, i));
        break;
      case Type::uint4:
      case Type::int4:
        f(nibble(t.bytes, i, t.type == Type::int4));
        break;
    }
  }
}

}  // namespace

std::string type_name(Type type) {
  const TypeInfo* info = info_of(type);
  return info ? info->name : str("type ", static_cast<int>(type));
}

int64_t byte_count(Type type, int64_t values) {
  const TypeInfo* info = info_of(type);
  PARE_CHECK(info, "onnx: tensors of ", type_name(type), " are not supported");
  return (values * info->bits + 7) / 8;
}

int64_t TensorData::numel() const {
  int64_t n = 1;
  for (int64_t d : dims) n *= d;
  return n;
}

TensorData floats(const std::string& name, const std::vector<int64_t>& dims,
                  const std::vector<float>& values) {
  TensorData t{.name = name, .dims = dims, .bytes = std::string(values.size() * sizeof(float), 0)};
  std::memcpy(t.bytes.data(), values.data(), t.bytes.size());
  return t;
}

TensorData integers(const std::string& name, Type type, const std::vector<int64_t>& dims,
                    const std::vector<int64_t>& values) {
  const TypeInfo* info = info_of(type);
  PARE_CHECK(info && info->lo < info->hi, "onnx: ", type_name(type), " holds no integers");
  const auto count = static_cast<int64_t>(values.size());
  TensorData t{.name = name,
               .type = type,
               .dims = dims,
               .bytes = std::string(static_cast<size_t>(byte_count(type, count)), 0)};
  for (size_t i = 0; i < values.size(); ++i) {
    const int64_t v = values[i];
    PARE_CHECK(static_cast<double>(v) >= info->lo && static_cast<double>(v) <= info->hi,
               "onnx: ", name, " holds ", v, ", which is no ", info->name);
    if (info->bits == 4) {
      t.bytes[i / 2] = static_cast<char>(t.bytes[i / 2] | (v & 15) << (i % 2 * 4));
    } else {  // little-endian: the low bytes come first
      const size_t size = static_cast<size_t>(info->bits) / 8;
      std::memcpy(t.bytes.data() + i * size, &v, size);
    }
  }
  return t;
}

std::vector<float> float_values(const TensorData& t) {
  std::vector<float> all;
  for_each_element(t, [&](auto v) { all.push_back(static_cast<float>(v)); });
  return all;
}

std::vector<int64_t> integer_values(const TensorData& t) {
  std::vector<int64_t> all;
  for_each_element(t, [&](auto v) { all.push_back(static_cast<int64_t>(v)); });
  return all;
}

const NodeAttribute* NodeProto::find(std::string_view attribute) const {
  for (const NodeAttribute& a : attributes) {
    if (a.name == attribute) return &a;
  }
  return nullptr;
}

int64_t ModelProto::opset() const {
  const auto it = opsets.find("");
  return it == opsets.end() ? 0 : it->second;
}

}  // namespace pare::onnx
