#pragma once
// The wire format of protocol buffers, as far as ONNX files need it: fields are numbered, and hold
// integers of variable length (wire type 0), 8 bytes (1), a length and that many bytes (2), or 4
// bytes (5).    protobuf.dev/programming-guides/encoding

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pare::onnx {

class WireWriter {
 public:
  void integer(int field, int64_t value);
  void number(int field, float value);
  void bytes(int field, std::string_view value);
  /// A message within this one, written by fill(WireWriter&).
  template <class F>
  void message(int field, F&& fill) {
    WireWriter inner;
    fill(inner);
    bytes(field, inner.out_);
  }
  std::string take() { return std::move(out_); }

 private:
  void varint(uint64_t value);
  void key(int field, int wire_type);

  std::string out_;
};

/// Walks the fields of a message. What is cut off or not understood throws.
class WireReader {
 public:
  explicit WireReader(std::string_view message) : rest_(message) {}

  /// On to the next field; false at the end.
  bool next();
  int field() const { return field_; }

  int64_t integer() const;
  float number() const;
  std::string_view bytes() const;
  WireReader message() const { return WireReader(bytes()); }
  // Of repeated fields: one more value, or many packed into one field.
  void append(std::vector<int64_t>& all) const;
  void append(std::vector<float>& all) const;
  void append(std::vector<double>& all) const;

 private:
  uint64_t varint();
  std::string_view take(uint64_t count);
  void expect(bool fits, const char* what) const;

  std::string_view rest_, bytes_;
  int field_ = 0, type_ = 0;
  uint64_t integer_ = 0;
};

}  // namespace pare::onnx
