#include "deploy/runtime/huffman.h"

#include <algorithm>

namespace pare::runtime {

namespace {

using Lengths = std::array<uint8_t, 256>;

/// Depths in the tree that joins the two rarest until one is left.
Lengths depths(const std::array<int64_t, 256>& counts) {
  struct Tree {
    int64_t count;
    std::vector<int> bytes;
  };
  std::vector<Tree> trees;
  for (int byte = 0; byte < 256; ++byte) {
    if (const int64_t count = counts[static_cast<size_t>(byte)]) trees.push_back({count, {byte}});
  }
  Lengths length{};
  const auto more = [](const Tree& a, const Tree& b) { return a.count > b.count; };
  std::make_heap(trees.begin(), trees.end(), more);
  while (trees.size() > 1) {
    std::pop_heap(trees.begin(), trees.end(), more);
    const Tree rarest = std::move(trees.back());
    trees.pop_back();
    std::pop_heap(trees.begin(), trees.end(), more);
    Tree& joined = trees.back();
    joined.count += rarest.count;
    joined.bytes.insert(joined.bytes.end(), rarest.bytes.begin(), rarest.bytes.end());
    for (int byte : joined.bytes) ++length[static_cast<size_t>(byte)];
    std::push_heap(trees.begin(), trees.end(), more);
  }
  return length;
}

/// Codes in the order of their lengths, and of bytes where these are equal.
std::array<uint16_t, 256> codes_of(const Lengths& length) {
  std::array<uint16_t, 256> codes{};
  unsigned next = 0;
  for (int bits = 1; bits <= kLongestCode; ++bits, next <<= 1) {
    for (size_t byte = 0; byte < 256; ++byte) {
      if (length[byte] == bits) codes[byte] = static_cast<uint16_t>(next++);
    }
  }
  return codes;
}

/// Whether every sequence of bits is a sequence of codes.
bool is_complete(const Lengths& length) {
  int64_t share = 0;
  for (uint8_t bits : length) {
    if (bits > kLongestCode) return false;
    if (bits > 0) share += int64_t{1} << (kLongestCode - bits);
  }
  return share == int64_t{1} << kLongestCode;
}

}  // namespace

HuffmanCode huffman_encode(const uint8_t* data, int64_t n) {
  std::array<int64_t, 256> counts{};
  for (int64_t i = 0; i < n; ++i) ++counts[data[i]];
  HuffmanCode code{depths(counts)};
  while (*std::max_element(code.length.begin(), code.length.end()) > kLongestCode) {
    for (int64_t& count : counts) count = (count + 1) / 2;  // flatter, and none vanishes
    code.length = depths(counts);
  }
  if (!is_complete(code.length)) return {};
  const std::array<uint16_t, 256> codes = codes_of(code.length);
  uint32_t waiting = 0;
  int bits = 0;
  for (int64_t i = 0; i < n; ++i) {
    waiting = waiting << code.length[data[i]] | codes[data[i]];
    for (bits += code.length[data[i]]; bits >= 8; bits -= 8) {
      code.bits.push_back(static_cast<uint8_t>(waiting >> (bits - 8)));
    }
  }
  if (bits > 0) code.bits.push_back(static_cast<uint8_t>(waiting << (8 - bits)));
  return code;
}

bool huffman_decode(const HuffmanCode& code, uint8_t* data, int64_t n) {
  if (!is_complete(code.length)) return false;
  const std::array<uint16_t, 256> codes = codes_of(code.length);
  std::array<uint8_t, 1 << kLongestCode> byte_of{};  // by the next bits, whatever follows a code
  for (size_t byte = 0; byte < 256; ++byte) {
    if (code.length[byte] == 0) continue;
    const int rest = kLongestCode - code.length[byte];
    std::fill_n(byte_of.begin() + (codes[byte] << rest), 1 << rest, static_cast<uint8_t>(byte));
  }
  const auto end = static_cast<int64_t>(code.bits.size());
  uint32_t waiting = 0;
  int bits = 0;
  int64_t at = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (; bits < kLongestCode && at < end; bits += 8) waiting = waiting << 8 | code.bits[at++];
    const uint32_t next =
        bits < kLongestCode ? waiting << (kLongestCode - bits) : waiting >> (bits - kLongestCode);
    data[i] = byte_of[next & ((1u << kLongestCode) - 1)];
    bits -= code.length[data[i]];
    if (bits < 0) return false;
  }
  return at == end && bits < 8;
}

}  // namespace pare::runtime
