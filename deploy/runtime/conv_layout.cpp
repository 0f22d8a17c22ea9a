// Making a convolution ready: where words lie, and what stands in the panels.

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <utility>

#include "deploy/runtime/conv.h"

namespace pare::runtime {

using kernels::kPanel;
using kernels::kWidePanel;

namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// For each output position the taps of its window that are inside of the image, as one number for
/// each different range.
struct Classes {
  std::vector<int32_t> of;                          // by position
  std::vector<std::pair<int64_t, int64_t>> ranges;  // [first, last) by class

  Classes(int64_t out, int64_t size, int64_t taps, int64_t stride, int64_t pad, int64_t dilation) {
    std::map<std::pair<int64_t, int64_t>, int32_t> known;
    for (int64_t o = 0; o < out; ++o) {
      int64_t first = taps, last = 0;
      for (int64_t t = 0; t < taps; ++t) {
        const int64_t at = o * stride - pad + t * dilation;
        if (at < 0 || at >= size) continue;
        first = std::min(first, t);
        last = t + 1;
      }
      const auto [it, added] =
          known.emplace(std::pair(first, last), static_cast<int32_t>(ranges.size()));
      if (added) ranges.emplace_back(first, last);
      of.push_back(it->second);
    }
  }
};

/// In cycles of a pixel, roughly: a table's instruction for each four signs of 64 filters, or, for
/// each 16 filters, full adders for all words and counting at the end.
bool tables_are_faster(int64_t bytes, int64_t words, int64_t filters) {
  const int64_t tables = 9 * bytes * divide_up(filters, kWidePanel) / 4;
  return tables < (2 * words + 16) * divide_up(filters, kPanel);
}

}  // namespace

Conv::Conv(const Program& program, const Op& op)
    : coding_(op.coding),
      weights_(op.weights),
      in_(program.buffers[static_cast<size_t>(op.inputs[0])]),
      out_(program.buffers[static_cast<size_t>(op.output)]),
      w_(op.window),
      groups_(op.groups),
      in_of_group_(in_.c / op.groups),
      out_of_group_(out_.c / op.groups),
      min_(op.finish.min),
      max_(op.finish.max),
      half_away_(op.finish.half_away) {
  kind_ = in_.type == Type::f32 ? Kind::floats : in_.type == Type::u8 ? Kind::codes : Kind::signs;
  if (kind_ != Kind::signs && groups_ > 1 && in_of_group_ == 1 && out_of_group_ == 1) {
    kind_ = Kind::depthwise;
  }
  winograd_ = winograd_for(program, op);
  if (winograd_) kind_ = Kind::winograd;
  odd_ = coding_ == Coding::o8 && in_.type == Type::u8;
  lay_out();
  build_finish(op);
  kind_ == Kind::winograd ? build_winograd() : build_panels();
}

void Conv::lay_out() {
  h_ = in_.h, width_ = in_.w, oh_ = out_.h, ow_ = out_.w;
  const bool pointwise = w_.kh == 1 && w_.kw == 1 && w_.ph == 0 && w_.pw == 0;
  flat_ = pointwise && w_.sh == 1 && w_.sw == 1 && kind_ != Kind::depthwise;
  if (flat_) {
    width_ *= std::exchange(h_, 1);
    ow_ *= std::exchange(oh_, 1);
  }
  if (kind_ == Kind::signs) {
    // All groups see as many words as the one that is spread over the most.
    for (int64_t g = 0; g < groups_; ++g) {
      const int64_t from = g * in_of_group_, to = from + in_of_group_;
      group_bytes_ = std::max(group_bytes_, (divide_up(to, 32) - from / 32) * 4);
    }
    masked_ = coding_ == Coding::ternary || (groups_ > 1 && in_of_group_ % 32 != 0);
  } else {
    group_bytes_ = in_of_group_ * (in_.type == Type::f32 ? 4 : 1);
  }
  pixel_bytes_ = in_.pixel_bytes();
  direct_ = w_.ph == 0 && w_.pw == 0;
  row_bytes_ = (width_ + 2 * w_.pw) * pixel_bytes_;
  lay_out_panels();
}

void Conv::lay_out_panels() {
  const int64_t taps = int64_t{w_.kh} * w_.kw;
  // Tables see the bytes of their group and no others, and need no masks.
  const int64_t table_bytes = groups_ == 1 ? pixel_bytes_ : in_of_group_ / 8;
  tables_ = kind_ == Kind::signs && coding_ == Coding::binary && kernels::active().likes_tables &&
            (groups_ == 1 || in_of_group_ % 8 == 0) &&
            tables_are_faster(taps * table_bytes, taps * group_bytes_ / 4, out_of_group_);
  masked_ = masked_ && !tables_;
  // The last word of a run may hold bytes of what follows, which meet weights of zero.
  joined_ = groups_ == 1 && w_.dw == 1;
  runs_ = joined_ ? w_.kh : taps;
  const int64_t bytes = (joined_ ? w_.kw : 1) * (tables_ ? table_bytes : group_bytes_);
  run_ = tables_ ? bytes : divide_up(bytes, 4);
  for (int64_t i = 0; i < w_.kh; ++i) {
    for (int64_t j = 0; j < (joined_ ? 1 : w_.kw); ++j) {
      offsets_.push_back(i * w_.dh * row_bytes_ + j * w_.dw * pixel_bytes_);
    }
  }
  panel_ = tables_ ? kWidePanel : kPanel;
  panels_of_group_ = divide_up(out_of_group_, panel_);
  panel_words_ = runs_ * run_ * (tables_ ? 2 * kWidePanel / 4 : kPanel);
}

int64_t Conv::first_byte(int64_t group) const {
  if (kind_ != Kind::signs) return group * group_bytes_;
  if (tables_) return group * in_of_group_ / 8;
  return std::min(group * in_of_group_ / 32 * 4, pixel_bytes_ - group_bytes_);
}

int64_t Conv::padded_channels() const {
  if (kind_ == Kind::depthwise) return divide_up(out_.c, kPanel) * kPanel;
  return groups_ * panels_of_group_ * panel_;
}

int64_t Conv::padded(int64_t filter) const {
  if (kind_ == Kind::depthwise) return filter;
  return filter / out_of_group_ * panels_of_group_ * panel_ + filter % out_of_group_;
}

void Conv::place(int64_t at, int64_t group, const int8_t* w, const float* floats) {
  const int64_t lane = at % panel_;
  uint32_t* panel = panels_.data() + at / panel_ * panel_words_;
  uint32_t* mask = masked_ ? masks_.data() + at / kPanel * panel_words_ : nullptr;
  const int64_t first = first_byte(group);
  const int64_t fours_of_tap = runs_ * run_ * 2 / (int64_t{w_.kh} * w_.kw);  // of tables
  for (int64_t tap = 0; tap < int64_t{w_.kh} * w_.kw; ++tap) {
    const int64_t run = joined_ ? tap / w_.kw : tap;
    const int64_t begin = joined_ ? tap % w_.kw * group_bytes_ : 0;  // of the tap in its run
    const auto word = [&](int64_t byte) { return (run * run_ + byte / 4) * kPanel + lane; };
    for (int64_t i = 0; i < in_of_group_; ++i) {
      const int64_t from = tap * in_of_group_ + i;
      if (tables_) {
        auto* bytes = reinterpret_cast<uint8_t*>(panel);
        uint8_t& four = bytes[(tap * fours_of_tap + i / 4) * kWidePanel + lane];
        four = static_cast<uint8_t>(four | (w[from] > 0) << (i % 4));
      } else if (kind_ == Kind::floats) {
        panel[word(begin + 4 * i)] = std::bit_cast<uint32_t>(floats[from]);
      } else if (kind_ == Kind::codes) {
        const int64_t byte = begin + i;
        panel[word(byte)] |= uint32_t{static_cast<uint8_t>(w[from])} << (8 * (byte % 4));
      } else {
        const int64_t bit = (begin - first) * 8 + group * in_of_group_ + i;
        panel[word(bit / 8)] |= uint32_t{w[from] > 0} << (bit % 32);
        if (mask) mask[word(bit / 8)] |= uint32_t{w[from] != 0} << (bit % 32);
      }
    }
  }
}

void Conv::build_panels() {
  const int64_t taps = int64_t{w_.kh} * w_.kw, filter = taps * in_of_group_;
  const int64_t bytes = filter_bytes(coding_, filter);
  const bool depthwise = kind_ == Kind::depthwise;
  if (!depthwise) {
    panels_.assign(static_cast<size_t>((groups_ * panels_of_group_ + odd_) * panel_words_), 0);
    if (masked_) masks_.assign(panels_.size(), 0);
  }
  start_.assign(static_cast<size_t>(padded_channels() + kPanel), 0);
  std::vector<int8_t> all(coding_ == Coding::f32 ? 0 : static_cast<size_t>(filter * out_.c));
  std::vector<int16_t> numbers(static_cast<size_t>(filter));
  const bool of_floats = in_.type == Type::f32;
  std::vector<float> floats(of_floats ? static_cast<size_t>(filter) : 0);
  const auto whole = static_cast<size_t>(filter * out_.c);
  depthwise_.resize(depthwise && !of_floats ? whole : 0);
  depthwise_floats_.resize(depthwise && of_floats ? whole : 0);
  for (int64_t f = 0; f < out_.c; ++f) {
    const uint8_t* packed = weights_.data + f * bytes;
    int8_t* w = all.data() + (all.empty() ? 0 : f * filter);
    if (coding_ == Coding::f32) {
      std::memcpy(floats.data(), packed, static_cast<size_t>(bytes));
    } else {
      unpack_filter(coding_, packed, filter, numbers.data());
      std::copy_n(numbers.data(), floats.size(), floats.data());
      std::transform(numbers.begin(), numbers.end(), w,
                     [&](int v) { return static_cast<int8_t>(odd_ ? (v - 1) / 2 : v); });
    }
    if (!depthwise) place(padded(f), f / out_of_group_, w, floats.data());
    int32_t sum = 0;
    for (int64_t t = 0; t < filter && coding_ != Coding::f32; ++t) sum += w[t];
    if (kind_ == Kind::codes) start_[static_cast<size_t>(padded(f))] = -in_.zero * sum;
    for (int64_t t = 0; depthwise && t < taps; ++t) {
      const auto to = static_cast<size_t>(t * out_.c + f);
      if (of_floats) {
        depthwise_floats_[to] = floats[static_cast<size_t>(t)];
      } else {
        depthwise_[to] = w[t];
      }
    }
  }
  if (kind_ == Kind::signs) build_base(all);
  if (odd_) build_ones();
  weights_ = {};
}

void Conv::build_ones() {
  const int64_t filter = int64_t{w_.kh} * w_.kw * in_of_group_;
  const std::vector<int8_t> ones(static_cast<size_t>(filter), 1);
  if (kind_ == Kind::depthwise) {
    ones_.assign(depthwise_.size(), 1);
    return;
  }
  place(padded_channels(), 0, ones.data(), nullptr);
  start_[static_cast<size_t>(padded_channels())] = -in_.zero * static_cast<int32_t>(filter);
}

/// raw where no sign differs: the number of weights, and of those that a border cuts off, which are
/// read as -1 and count 0, their sum.
void Conv::build_base(const std::vector<int8_t>& weights) {
  const Classes rows(oh_, h_, w_.kh, w_.sh, w_.ph, w_.dh);
  const Classes columns(ow_, width_, w_.kw, w_.sw, w_.pw, w_.dw);
  row_class_ = rows.of, column_class_ = columns.of;
  column_classes_ = static_cast<int64_t>(columns.ranges.size());
  const int64_t channels = padded_channels();
  const int64_t filter = int64_t{w_.kh} * w_.kw * in_of_group_;
  base_.assign(rows.ranges.size() * columns.ranges.size() * static_cast<size_t>(channels), 0);
  int32_t* to = base_.data();
  for (const auto& row : rows.ranges) {
    for (const auto& column : columns.ranges) {
      for (int64_t f = 0; f < out_.c; ++f) {
        int32_t base = 0;
        for (int64_t k = 0; k < filter; ++k) {
          const int8_t w = weights[static_cast<size_t>(f * filter + k)];
          const int64_t i = k / in_of_group_ / w_.kw, j = k / in_of_group_ % w_.kw;
          const bool inside =
              i >= row.first && i < row.second && j >= column.first && j < column.second;
          base += (w != 0) + (inside ? 0 : w);
        }
        to[padded(f)] = base;
      }
      to += channels;
    }
  }
}

void Conv::build_finish(const Op& op) {
  const auto channels = static_cast<size_t>(padded_channels());
  const auto spread = [&](const auto& from, auto& to) {
    if (from.empty()) return;
    to.assign(channels, {});
    for (int64_t f = 0; f < out_.c; ++f) {
      to[static_cast<size_t>(padded(f))] = from[static_cast<size_t>(f)];
    }
  };
  spread(op.finish.scale, scale_);
  spread(op.finish.bias, bias_);
  spread(op.finish.threshold, threshold_);
  falls_.assign(channels / kPanel, 0);
  for (int64_t f = 0; f < out_.c && !op.finish.falls.empty(); ++f) {
    const int falls = op.finish.falls[static_cast<size_t>(f / 8)] >> (f % 8) & 1;
    auto& sixteen = falls_[static_cast<size_t>(padded(f) / kPanel)];
    sixteen = static_cast<uint16_t>(sixteen | falls << (padded(f) % kPanel));
  }
}

}  // namespace pare::runtime
