#pragma once
// The safetensors format: u64 header length, JSON header, raw little-endian data. Strict on reading
// (no overlap, no hole, no duplicate key, no truncated file); written to a temporary name and
// renamed, so a file is whole or absent.

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace pare::safetensors {

enum class Dtype { boolean, u8, i8, u16, i16, f16, bf16, u32, i32, f32, u64, i64, f64 };
const char* dtype_name(Dtype dtype);  // "F32"
size_t dtype_size(Dtype dtype);       // bytes

struct Entry {
  Dtype dtype = Dtype::f32;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;

  static Entry of(const Tensor& t);
  static Entry of(std::span<const int64_t> values, std::vector<int64_t> shape);
  static Entry of(std::span<const int32_t> values, std::vector<int64_t> shape);
  static Entry of(std::span<const uint8_t> values, std::vector<int64_t> shape);

  /// Any number type, converted to float32. A 0-dimensional entry becomes shape [1].
  Tensor tensor() const;
  /// An integer type, widened.
  std::vector<int64_t> integers() const;
  int64_t numel() const;
};

struct File {
  std::map<std::string, Entry> entries;
  std::map<std::string, std::string> metadata;

  const Entry& at(const std::string& name) const;  // throws, naming the nearest entries
  bool has(const std::string& name) const { return entries.count(name) > 0; }
};

File read(const std::string& path);
/// Shapes, types and metadata without the data.
File read_header(const std::string& path);
void write(const std::string& path, const File& file);

}  // namespace pare::safetensors
