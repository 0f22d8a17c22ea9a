#include "deploy/onnx/wire.h"

#include <bit>
#include <cstring>

#include "core/error.h"

namespace pare::onnx {

static_assert(std::endian::native == std::endian::little,
              "fixed-size fields are copied as they are");

namespace {

enum WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

template <class T>
T value_of(std::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

template <class T>
void append_fixed(std::string_view bytes, std::vector<T>& all) {
  const size_t old = all.size(), count = bytes.size() / sizeof(T);
  PARE_CHECK(bytes.size() % sizeof(T) == 0, "protobuf: ", bytes.size(),
             " packed bytes do not hold ", sizeof(T), "-byte numbers");
  all.resize(old + count);
  if (count > 0) std::memcpy(all.data() + old, bytes.data(), bytes.size());
}

}  // namespace

void WireWriter::varint(uint64_t value) {
  for (; value >= 128; value >>= 7) out_.push_back(static_cast<char>(value | 128));
  out_.push_back(static_cast<char>(value));
}

void WireWriter::key(int field, int wire_type) {
  varint(static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(wire_type));
}

void WireWriter::integer(int field, int64_t value) {
  key(field, kVarint);
  varint(static_cast<uint64_t>(value));
}

void WireWriter::number(int field, float value) {
  key(field, kFixed32);
  char raw[sizeof value];
  std::memcpy(raw, &value, sizeof value);
  out_.append(raw, sizeof value);
}

void WireWriter::bytes(int field, std::string_view value) {
  key(field, kBytes);
  varint(value.size());
  out_.append(value);
}

uint64_t WireReader::varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = static_cast<unsigned char>(take(1)[0]);
    value |= static_cast<uint64_t>(byte & 127) << shift;
    if (byte < 128) return value;
  }
  throw Error("protobuf: an integer has more than ten bytes", "WireReader::varint");
}

std::string_view WireReader::take(uint64_t count) {
  PARE_CHECK(count <= rest_.size(), "protobuf: a field of ", count, " bytes, and ", rest_.size(),
             " are left", hint("the file is cut off, or is no ONNX file"));
  const std::string_view taken = rest_.substr(0, count);
  rest_.remove_prefix(count);
  return taken;
}

bool WireReader::next() {
  if (rest_.empty()) return false;
  const uint64_t key = varint();
  field_ = static_cast<int>(key >> 3);
  type_ = static_cast<int>(key & 7);
  PARE_CHECK(key >> 3 > 0 && key >> 3 < 1 << 29, "protobuf: field number ", key >> 3,
             hint("this is no ONNX file"));
  switch (type_) {
    case kVarint:
      integer_ = varint();
      break;
    case kFixed64:
      bytes_ = take(8);
      break;
    case kBytes:
      bytes_ = take(varint());
      break;
    case kFixed32:
      bytes_ = take(4);
      break;
    default:
      throw Error(
          str("protobuf: field ", field_, " has wire type ", type_, hint("this is no ONNX file")),
          "WireReader::next");
  }
  return true;
}

void WireReader::expect(bool fits, const char* what) const {
  PARE_CHECK(fits, "protobuf: field ", field_, " should be ", what, ", and has wire type ", type_,
             hint("this is no ONNX file"));
}

int64_t WireReader::integer() const {
  expect(type_ == kVarint, "an integer");
  return static_cast<int64_t>(integer_);
}

float WireReader::number() const {
  expect(type_ == kFixed32, "a float");
  return value_of<float>(bytes_);
}

std::string_view WireReader::bytes() const {
  expect(type_ == kBytes, "bytes");
  return bytes_;
}

void WireReader::append(std::vector<int64_t>& all) const {
  if (type_ == kVarint) return all.push_back(integer());
  WireReader packed(bytes());
  while (!packed.rest_.empty()) all.push_back(static_cast<int64_t>(packed.varint()));
}

void WireReader::append(std::vector<float>& all) const {
  if (type_ == kFixed32) return all.push_back(number());
  append_fixed(bytes(), all);
}

void WireReader::append(std::vector<double>& all) const {
  if (type_ == kFixed64) return all.push_back(value_of<double>(bytes_));
  append_fixed(bytes(), all);
}

}  // namespace pare::onnx
