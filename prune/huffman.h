#pragma once
// Bits one after the other, and Huffman's code for small numbers.

#include <cstdint>
#include <span>
#include <vector>

namespace pare::prune {

class BitWriter {
 public:
  /// The lowest `count` bits of value, the highest of them first; count <= 32.
  void put(uint32_t value, int count);
  /// All bytes, the last one filled up with zeros.
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
  int free_ = 0;  // bits of the last byte
};

/// Throws where the bytes end too early.
class BitReader {
 public:
  explicit BitReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  uint32_t get(int count);

 private:
  std::span<const uint8_t> bytes_;
  size_t at_ = 0;  // in bits
};

/// Huffman 1952, in canonical form: the lengths of the codes say all.
class Huffman {
 public:
  /// For symbols 0, 1, ... that are met so many times.
  explicit Huffman(const std::vector<int64_t>& counts);
  /// As write() left it.
  explicit Huffman(BitReader& in);

  void write(BitWriter& out) const;
  void put(BitWriter& out, size_t symbol) const;
  size_t get(BitReader& in) const;
  /// Of the codes of all symbols up to the last one that is met; 0: it never is.
  const std::vector<int>& lengths() const { return lengths_; }

 private:
  void assign_codes();

  std::vector<int> lengths_;
  std::vector<uint32_t> codes_;
  std::vector<size_t> by_code_;  // symbols by length, then by number
};

}  // namespace pare::prune
