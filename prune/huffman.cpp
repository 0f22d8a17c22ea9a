#include "prune/huffman.h"

#include <algorithm>
#include <numeric>
#include <queue>

#include "core/error.h"

namespace pare::prune {

namespace {

constexpr int kCountBits = 16, kLengthBits = 5, kLongest = 31;

/// Depths of the leaves of Huffman's tree.
std::vector<int> tree_depths(const std::vector<int64_t>& counts) {
  if (counts.empty()) return {};
  struct Node {
    int64_t count;
    size_t index;  // leaves first, then inner nodes in the order they are made
    bool operator>(const Node& o) const {
      return count != o.count ? count > o.count : index > o.index;
    }
  };
  std::priority_queue<Node, std::vector<Node>, std::greater<>> open;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 0) open.push({counts[i], i});
  }
  std::vector<size_t> parent(2 * counts.size(), 0);
  size_t next = counts.size();
  while (open.size() > 1) {
    const Node a = open.top();
    open.pop();
    const Node b = open.top();
    open.pop();
    parent[a.index] = parent[b.index] = next;
    open.push({a.count + b.count, next++});
  }
  std::vector<int> depth(next, 0);
  for (size_t i = next - 1; i-- > 0;) {
    if (parent[i] > 0) depth[i] = depth[parent[i]] + 1;
  }
  depth.resize(counts.size());
  return depth;
}

}  // namespace

void BitWriter::put(uint32_t value, int count) {
  for (int i = count - 1; i >= 0; --i) {
    if (free_ == 0) bytes_.push_back(0), free_ = 8;
    --free_;
    if ((value >> i) & 1u) bytes_.back() = static_cast<uint8_t>(bytes_.back() | (1u << free_));
  }
}

uint32_t BitReader::get(int count) {
  PARE_CHECK(at_ + static_cast<size_t>(count) <= 8 * bytes_.size(),
             "packed weights: the data ends too early");
  uint32_t value = 0;
  for (int i = 0; i < count; ++i, ++at_) {
    value = value << 1 | ((bytes_[at_ / 8] >> (7 - at_ % 8)) & 1u);
  }
  return value;
}

Huffman::Huffman(const std::vector<int64_t>& counts) : lengths_(tree_depths(counts)) {
  // A single symbol needs a bit all the same.
  const auto used = std::count_if(counts.begin(), counts.end(), [](int64_t c) { return c > 0; });
  for (size_t i = 0; used == 1 && i < counts.size(); ++i) {
    if (counts[i] > 0) lengths_[i] = 1;
  }
  assign_codes();
}

Huffman::Huffman(BitReader& in) : lengths_(in.get(kCountBits)) {
  for (int& length : lengths_) length = static_cast<int>(in.get(kLengthBits));
  assign_codes();
}

void Huffman::assign_codes() {
  PARE_CHECK(lengths_.size() < (size_t{1} << kCountBits), "huffman: too many symbols, got ",
             lengths_.size());
  while (!lengths_.empty() && lengths_.back() == 0) lengths_.pop_back();  // a shorter table
  codes_.assign(lengths_.size(), 0);
  by_code_.clear();
  for (size_t i = 0; i < lengths_.size(); ++i) {
    PARE_CHECK(lengths_[i] <= kLongest, "huffman: a code of ", lengths_[i], " bits is too long");
    if (lengths_[i] > 0) by_code_.push_back(i);
  }
  std::stable_sort(by_code_.begin(), by_code_.end(),
                   [&](size_t a, size_t b) { return lengths_[a] < lengths_[b]; });
  uint32_t code = 0;
  for (size_t i = 0; i < by_code_.size(); ++i) {
    const int length = lengths_[by_code_[i]];
    if (i > 0) code = (code + 1) << (length - lengths_[by_code_[i - 1]]);
    codes_[by_code_[i]] = code;
  }
}

void Huffman::write(BitWriter& out) const {
  out.put(static_cast<uint32_t>(lengths_.size()), kCountBits);
  for (int length : lengths_) out.put(static_cast<uint32_t>(length), kLengthBits);
}

void Huffman::put(BitWriter& out, size_t symbol) const {
  PARE_DCHECK(lengths_.at(symbol) > 0, "huffman: symbol ", symbol, " has no code");
  out.put(codes_[symbol], lengths_[symbol]);
}

size_t Huffman::get(BitReader& in) const {
  uint32_t code = 0;
  int length = 0;
  for (size_t symbol : by_code_) {
    while (length < lengths_[symbol]) code = code << 1 | in.get(1), ++length;
    if (code == codes_[symbol]) return symbol;
  }
  throw Error("packed weights: a code that stands for nothing", "Huffman::get");
}

}  // namespace pare::prune
