#include "core/safetensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/files.h"

namespace pare::safetensors {

namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kMaxHeader = 100'000'000;

struct TypeInfo {
  const char* name;
  size_t size;
};
constexpr TypeInfo kTypes[] = {{"BOOL", 1}, {"U8", 1},   {"I8", 1},  {"U16", 2}, {"I16", 2},
                               {"F16", 2},  {"BF16", 2}, {"U32", 4}, {"I32", 4}, {"F32", 4},
                               {"U64", 8},  {"I64", 8},  {"F64", 8}};

Dtype parse_dtype(const std::string& name, const std::string& path) {
  for (size_t i = 0; i < std::size(kTypes); ++i) {
    if (name == kTypes[i].name) return static_cast<Dtype>(i);
  }
  throw Error(str(path, ": unknown data type '", name, "'"), "safetensors");
}

/// IEEE half precision, bit by bit.
float half_to_float(uint16_t h) {
  const uint32_t sign = (h & 0x8000u) << 16, exponent = (h >> 10) & 31, mantissa = h & 0x3ff;
  if (exponent == 0) return std::ldexp(static_cast<float>(mantissa), -24) * (sign ? -1.0f : 1.0f);
  const uint32_t bits =
      exponent == 31 ? 0x7f800000u | (mantissa << 13) : ((exponent + 112) << 23) | (mantissa << 13);
  return std::bit_cast<float>(sign | bits);
}

template <class T>
T load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

double number(Dtype type, const std::byte* p) {
  switch (type) {
    case Dtype::boolean:
    case Dtype::u8:
      return load<uint8_t>(p);
    case Dtype::i8:
      return load<int8_t>(p);
    case Dtype::u16:
      return load<uint16_t>(p);
    case Dtype::i16:
      return load<int16_t>(p);
    case Dtype::f16:
      return half_to_float(load<uint16_t>(p));
    case Dtype::bf16:
      return std::bit_cast<float>(uint32_t{load<uint16_t>(p)} << 16);
    case Dtype::u32:
      return load<uint32_t>(p);
    case Dtype::i32:
      return load<int32_t>(p);
    case Dtype::f32:
      return load<float>(p);
    case Dtype::u64:
      return static_cast<double>(load<uint64_t>(p));
    case Dtype::i64:
      return static_cast<double>(load<int64_t>(p));
    case Dtype::f64:
      return load<double>(p);
  }
  return 0;
}

template <class T>
Entry entry_of(Dtype dtype, std::span<const T> values, std::vector<int64_t> shape) {
  Entry e{dtype, std::move(shape), std::vector<std::byte>(values.size_bytes())};
  PARE_CHECK(e.numel() == static_cast<int64_t>(values.size()), "safetensors: ", values.size(),
             " values for a shape of ", e.numel());
  if (!values.empty()) std::memcpy(e.bytes.data(), values.data(), values.size_bytes());
  return e;
}

Json parse_header(const std::string& text, const std::string& path) {
  // nlohmann keeps the last of two equal keys; the format forbids them.
  std::vector<std::set<std::string>> open;
  std::string twice;
  const auto watch = [&](int /*depth*/, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end) open.pop_back();
    if (event == Json::parse_event_t::key &&
        !open.back().insert(parsed.get<std::string>()).second) {
      twice = parsed.get<std::string>();
    }
    return true;
  };
  try {
    Json header = Json::parse(text, watch);
    PARE_CHECK(twice.empty(), path, ": the key '", twice, "' appears twice");
    PARE_CHECK(header.is_object(), path, ": the header is not a JSON object");
    return header;
  } catch (const nlohmann::json::exception& e) {
    throw Error(str(path, ": not a safetensors file (", e.what(), ")"), "safetensors");
  }
}

struct Extent {
  uint64_t begin, end;
  std::string name;
};

/// Fills shapes, types and metadata from the header; returns where each entry's bytes lie.
std::vector<Extent> read_entries(const Json& header, const std::string& path, File& file) {
  std::vector<Extent> extents;
  try {
    for (const auto& [name, value] : header.items()) {
      if (name == "__metadata__") {
        for (const auto& [key, text] : value.items()) file.metadata[key] = text.get<std::string>();
        continue;
      }
      Entry e;
      e.dtype = parse_dtype(value.at("dtype").get<std::string>(), path);
      e.shape = value.at("shape").get<std::vector<int64_t>>();
      const auto offsets = value.at("data_offsets").get<std::vector<uint64_t>>();
      PARE_CHECK(offsets.size() == 2 && offsets[0] <= offsets[1], path, ": bad data_offsets of '",
                 name, "'");
      for (int64_t d : e.shape)
        PARE_CHECK(d >= 0, path, ": negative size in the shape of '", name, "'");
      const uint64_t bytes = static_cast<uint64_t>(e.numel()) * dtype_size(e.dtype);
      PARE_CHECK(offsets[1] - offsets[0] == bytes, path, ": '", name, "' has ",
                 offsets[1] - offsets[0], " bytes, its shape and type need ", bytes);
      extents.push_back({offsets[0], offsets[1], name});
      file.entries[name] = std::move(e);
    }
  } catch (const nlohmann::json::exception& e) {
    throw Error(str(path, ": malformed header: ", e.what()), "safetensors");
  }
  return extents;
}

/// The data must be covered exactly: no overlap, no hole, nothing behind.
void check_extents(std::vector<Extent>& extents, uint64_t data_bytes, const std::string& path) {
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t at = 0;
  for (const Extent& e : extents) {
    PARE_CHECK(e.begin == at, path, ": '", e.name, "' starts at byte ", e.begin, ", expected ", at,
               e.begin < at ? " (overlap)" : " (hole)");
    at = e.end;
  }
  PARE_CHECK(at == data_bytes, path, ": truncated or padded: the header describes ", at,
             " bytes of data, the file has ", data_bytes);
}

File read_from(const std::string& content, const std::string& path, bool with_data) {
  PARE_CHECK(content.size() >= 8, path, ": truncated: ", content.size(),
             " bytes are too few for a safetensors file");
  const auto length = load<uint64_t>(reinterpret_cast<const std::byte*>(content.data()));
  PARE_CHECK(length <= kMaxHeader && length <= content.size() - 8, path,
             ": not a safetensors file, or truncated: header of ", length, " bytes, file of ",
             content.size());
  File file;
  std::vector<Extent> extents =
      read_entries(parse_header(content.substr(8, length), path), path, file);
  check_extents(extents, content.size() - 8 - length, path);
  if (!with_data) return file;
  const auto* data = reinterpret_cast<const std::byte*>(content.data()) + 8 + length;
  for (const Extent& e : extents) file.entries[e.name].bytes.assign(data + e.begin, data + e.end);
  return file;
}

}  // namespace

const char* dtype_name(Dtype dtype) { return kTypes[static_cast<size_t>(dtype)].name; }
size_t dtype_size(Dtype dtype) { return kTypes[static_cast<size_t>(dtype)].size; }

int64_t Entry::numel() const {
  int64_t n = 1;
  for (int64_t d : shape) {
    PARE_CHECK(d == 0 || n <= (int64_t{1} << 48) / d, "safetensors: a shape too large to be true");
    n *= d;
  }
  return n;
}

Entry Entry::of(const Tensor& t) {
  return entry_of<float>(Dtype::f32, t.span(), {t.shape().begin(), t.shape().end()});
}
Entry Entry::of(std::span<const int64_t> values, std::vector<int64_t> shape) {
  return entry_of(Dtype::i64, values, std::move(shape));
}
Entry Entry::of(std::span<const int32_t> values, std::vector<int64_t> shape) {
  return entry_of(Dtype::i32, values, std::move(shape));
}
Entry Entry::of(std::span<const uint8_t> values, std::vector<int64_t> shape) {
  return entry_of(Dtype::u8, values, std::move(shape));
}

Tensor Entry::tensor() const {
  const size_t size = dtype_size(dtype);
  Tensor t = Tensor::uninit(shape.empty() ? Shape{1} : Shape(std::span(shape)));
  if (dtype == Dtype::f32) {
    std::copy_n(bytes.data(), bytes.size(), reinterpret_cast<std::byte*>(t.data()));
    return t;
  }
  float* values = t.data();
  for (int64_t i = 0; i < t.numel(); ++i) {
    values[i] = static_cast<float>(number(dtype, bytes.data() + static_cast<size_t>(i) * size));
  }
  return t;
}

std::vector<int64_t> Entry::integers() const {
  PARE_CHECK(
      dtype != Dtype::f16 && dtype != Dtype::bf16 && dtype != Dtype::f32 && dtype != Dtype::f64,
      "safetensors: integers wanted, the entry is ", dtype_name(dtype));
  std::vector<int64_t> values(static_cast<size_t>(numel()));
  for (size_t i = 0; i < values.size(); ++i) {
    const std::byte* p = bytes.data() + i * dtype_size(dtype);
    values[i] = dtype == Dtype::i64 || dtype == Dtype::u64 ? load<int64_t>(p)
                                                           : static_cast<int64_t>(number(dtype, p));
  }
  return values;
}

const Entry& File::at(const std::string& name) const {
  const auto found = entries.find(name);
  if (found != entries.end()) return found->second;
  const auto near = entries.lower_bound(name);
  throw Error(str("safetensors: no entry '", name, "'",
                  near != entries.end() ? hint("the file has '" + near->first + "'") : ""),
              "safetensors");
}

File read(const std::string& path) { return read_from(read_file(path), path, true); }
File read_header(const std::string& path) { return read_from(read_file(path), path, false); }

void write(const std::string& path, const File& file) {
  Json header = Json::object();
  if (!file.metadata.empty()) header["__metadata__"] = file.metadata;
  uint64_t at = 0;
  std::vector<std::string_view> parts(2);
  for (const auto& [name, e] : file.entries) {
    PARE_CHECK(e.bytes.size() == static_cast<size_t>(e.numel()) * dtype_size(e.dtype), path,
               ": entry '", name, "' has ", e.bytes.size(),
               " bytes, its shape and type need another number");
    header[name] = {{"dtype", dtype_name(e.dtype)},
                    {"shape", e.shape},
                    {"data_offsets", {at, at + e.bytes.size()}}};
    at += e.bytes.size();
    parts.emplace_back(reinterpret_cast<const char*>(e.bytes.data()), e.bytes.size());
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  parts[0] = {reinterpret_cast<const char*>(&length), sizeof length};
  parts[1] = text;
  write_file_atomically(path, parts);
}

}  // namespace pare::safetensors
