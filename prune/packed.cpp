#include "prune/packed.h"

#include <fmt/format.h>

#include <bit>
#include <ostream>

#include "nn/layers.h"
#include "nn/state.h"
#include "nn/text.h"
#include "prune/codebook.h"
#include "prune/huffman.h"

namespace pare::prune {

namespace {

constexpr uint32_t kMagic = 0x50504b31;  // "PPK1"
constexpr int kWord = 32, kGapBits = 4, kSizeBits = 13;

void put(BitWriter& out, float value) { out.put(std::bit_cast<uint32_t>(value), kWord); }
float get(BitReader& in) { return std::bit_cast<float>(in.get(kWord)); }

/// The weights that are not zero, and the zeros before each. A gap of 2^bits - 1 stands for so many
/// zeros and no weight.
struct Sparse {
  std::vector<float> values;
  std::vector<size_t> gaps;
};

Sparse sparse_form(std::span<const float> weights, int gap_bits) {
  Sparse s;
  const size_t most = (size_t{1} << gap_bits) - 1;
  size_t gap = 0;
  for (float w : weights) {
    if (w == 0) {
      ++gap;
      continue;
    }
    for (; gap >= most; gap -= most) s.gaps.push_back(most);
    s.gaps.push_back(gap);
    s.values.push_back(w);
    gap = 0;
  }
  return s;
}

template <class Symbols>
Huffman code_for(const Symbols& symbols, size_t count) {
  std::vector<int64_t> counts(count);
  for (auto s : symbols) ++counts[s];
  return Huffman(counts);
}

/// Writes one weight, and makes its values those of the codebook.
PackReport::Row pack_weight(Tensor& weight, CodeBits bits, BitWriter& out) {
  const size_t before = out.bytes().size();
  const Sparse s = sparse_form(weight.span(), bits.gap);
  const Codebook book = share_values(s.values, bits.code);
  const Huffman codes = code_for(book.codes, book.centroids.size());
  const size_t most = (size_t{1} << bits.gap) - 1;
  const Huffman gaps = code_for(s.gaps, most + 1);
  out.put(static_cast<uint32_t>(book.centroids.size()), kSizeBits);
  for (float c : book.centroids) put(out, c);
  out.put(static_cast<uint32_t>(bits.gap), kGapBits);
  codes.write(out);
  gaps.write(out);
  out.put(static_cast<uint32_t>(s.values.size()), kWord);
  size_t next = 0;
  for (size_t gap : s.gaps) {
    gaps.put(out, gap);
    if (gap < most) codes.put(out, book.codes[next++]);
  }
  next = 0;
  for (float& w : weight.span()) {
    if (w != 0) w = book.centroids[book.codes[next++]];
  }
  const auto count = static_cast<double>(s.values.size());
  const double index = static_cast<double>(s.gaps.size()) * bits.gap / 8;
  PackReport::Row row{.weights = weight.numel(), .nonzeros = static_cast<int64_t>(count)};
  row.values = static_cast<int64_t>(book.centroids.size());
  row.dense = 4.0 * static_cast<double>(weight.numel());
  row.sparse = 4 * count + index;
  row.shared = count * bits.code / 8 + index + 4.0 * static_cast<double>(row.values);
  row.packed = static_cast<double>(out.bytes().size() - before);
  return row;
}

void unpack_weight(BitReader& in, Tensor& weight) {
  std::vector<float> centroids(in.get(kSizeBits));
  for (float& c : centroids) c = get(in);
  const size_t most = (size_t{1} << in.get(kGapBits)) - 1;
  const Huffman codes(in), gaps(in);
  weight.fill_(0);
  const std::span<float> to = weight.span();
  size_t at = 0;
  for (uint32_t left = in.get(kWord); left > 0;) {
    const size_t gap = gaps.get(in);
    at += gap;
    if (gap == most) continue;
    const size_t code = codes.get(in);
    PARE_CHECK(at < to.size() && code < centroids.size(),
               "packed weights: they do not fit a tensor of shape ", weight.shape());
    to[at++] = centroids[code];
    --left;
  }
}

int64_t numbers(const std::map<std::string, Tensor>& state) {
  int64_t sum = 0;
  for (const auto& [name, t] : state) sum += t.numel();
  return sum;
}

}  // namespace

std::map<std::string, CodeBits> coded_weights(nn::Layer& model, const PackOptions& o) {
  std::map<std::string, CodeBits> names;
  nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
    const std::string name = path.empty() ? "weight" : path + ".weight";
    if (layer.as<nn::Conv2d>() || layer.as<nn::ConvTranspose2d>()) {
      names[name] = {o.conv_bits, o.conv_gap};
    } else if (layer.as<nn::Linear>()) {
      names[name] = {o.linear_bits, o.linear_gap};
    }
  });
  return names;
}

Packed pack(nn::Layer& model, const PackOptions& o) {
  for (int bits : {o.conv_gap, o.linear_gap}) {
    PARE_CHECK(bits >= 1 && bits <= 12, "pack: bits of a gap must be in 1..12, got ", bits);
  }
  const auto coded = coded_weights(model, o);
  std::map<std::string, Tensor> state = nn::state_dict(model);
  BitWriter out;
  out.put(kMagic, kWord);
  out.put(static_cast<uint32_t>(numbers(state)), kWord);
  PackReport report;
  for (auto& [name, t] : state) {
    const auto it = coded.find(name);
    if (it == coded.end()) {
      for (float v : t.span()) put(out, v);
      report.other += 4.0 * static_cast<double>(t.numel());
      continue;
    }
    report.rows.push_back(pack_weight(t, it->second, out));
    report.rows.back().name = name;
  }
  return {out.bytes(), std::move(report)};
}

void unpack(std::span<const uint8_t> bytes, nn::Layer& model) {
  BitReader in(bytes);
  std::map<std::string, Tensor> state = nn::state_dict(model);
  PARE_CHECK(in.get(kWord) == kMagic, "packed weights: the data does not begin as it should");
  const int64_t there = in.get(kWord), wanted = numbers(state);
  PARE_CHECK(there == wanted, "packed weights: they are of another model: ", there,
             " numbers, expected ", wanted);
  const auto coded = coded_weights(model, {});
  for (auto& [name, t] : state) {
    if (coded.count(name) > 0) {
      unpack_weight(in, t);
    } else {
      for (float& v : t.span()) v = get(in);
    }
  }
}

PackReport::Row PackReport::total() const {
  Row sum{.name = "all, with the rest"};
  for (const Row& r : rows) {
    sum.weights += r.weights, sum.nonzeros += r.nonzeros, sum.values += r.values;
    sum.dense += r.dense, sum.sparse += r.sparse, sum.shared += r.shared, sum.packed += r.packed;
  }
  for (double* stage : {&sum.dense, &sum.sparse, &sum.shared, &sum.packed}) *stage += other;
  return sum;
}

std::ostream& operator<<(std::ostream& out, const PackReport& report) {
  std::vector<std::vector<std::string>> lines{
      {"weight", "weights", "not zero", "values", "bytes", "sparse", "shared", "Huffman"}};
  const auto add = [&](const PackReport::Row& r) {
    lines.push_back(
        {r.name, std::to_string(r.weights), std::to_string(r.nonzeros), std::to_string(r.values)});
    for (double bytes : {r.dense, r.sparse, r.shared, r.packed}) {
      lines.back().push_back(fmt::format("{:.0f}", bytes));
    }
  };
  for (const PackReport::Row& r : report.rows) add(r);
  add(report.total());
  return out << nn::columns(lines);
}

}  // namespace pare::prune
