#pragma once
// Bytes in fewer bits, the frequent ones in the fewest (Huffman 1952, canonical codes).

#include <array>
#include <cstdint>
#include <vector>

namespace pare::runtime {

inline constexpr int kLongestCode = 12;  // bits; decoding is one look-up

struct HuffmanCode {
  std::array<uint8_t, 256> length = {};  // bits of each byte; 0: it does not occur
  std::vector<uint8_t> bits = {};        // highest first

  /// Bytes of both in a file.
  int64_t size() const { return 128 + static_cast<int64_t>(bits.size()); }
};

/// No lengths: the bytes are all the same, or there are none.
HuffmanCode huffman_encode(const uint8_t* data, int64_t n);
/// n bytes; false if the code is not one, or ends elsewhere.
bool huffman_decode(const HuffmanCode& code, uint8_t* data, int64_t n);

}  // namespace pare::runtime
