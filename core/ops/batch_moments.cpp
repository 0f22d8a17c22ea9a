#include "core/ops/batch_moments.h"

#include <span>

#include "core/deferred.h"
#include "core/kernels/normalize.h"

namespace pare {

namespace {

enum : int64_t { kSum, kSquares, kMin, kMax, kKinds };

struct BlockMoments {
  BlockMoments(int64_t blocks, int64_t channels)
      : sums(blocks, kKinds, channels), at(static_cast<size_t>(blocks)) {}
  BlockSums sums;
  struct Rows {
    int64_t first, count;
  };
  std::vector<Rows> at;
};

/// Each block's sums around the block's first row, taken while the block is in cache if x is only
/// now computed.
BlockMoments block_moments(const Tensor& x) {
  const Rows r(x);
  const int64_t shown = pending_blocks(x), C = r.channels;
  BlockMoments m(shown ? shown : r.shards(), C);
  const auto add = [&](int64_t block, int64_t first, int64_t rows, const float* values) {
    m.at[static_cast<size_t>(block)] = {first, rows};
    kernels::channel_moments(values, values, rows, C,
                             {m.sums.of(block, kSum), m.sums.of(block, kSquares),
                              m.sums.of(block, kMin), m.sums.of(block, kMax)});
  };
  if (shown) {
    settle(x, [&](const Block& b) { add(b.index, b.first, b.rows, b.values); });
  } else {
    const float* px = x.data();
    r.for_each_shard([&](int64_t shard, int64_t first, int64_t count) {
      add(shard, first, count, px + first * C);
    });
  }
  return m;
}

/// From each process's mean and sum of squares around it to those over all; returns all rows.
double merge_moments(Communicator& group, double rows, std::span<double> moments) {
  const size_t C = moments.size() / 2;
  std::vector<double> sums(2 * C + 1);  // of x, of x^2, of 1
  for (size_t c = 0; c < C; ++c) {
    sums[c] = rows * moments[c];
    sums[C + c] = moments[C + c] + rows * moments[c] * moments[c];
  }
  sums[2 * C] = rows;
  group.sum(sums);
  const double all = sums[2 * C];
  for (size_t c = 0; c < C; ++c) {
    moments[c] = sums[c] / all;
    moments[C + c] = sums[C + c] - all * moments[c] * moments[c];
  }
  return all;
}

/// What the blocks of a range of channels are merged into: means, sums of squares around them, and
/// extremes.
struct Merged {
  double *mean, *squares;
  float *min, *max;

  /// Adds a block of `count` rows to the n before it, by Chan's formula. `origin` is what its sums
  /// are around.
  void add(Range channels, const BlockSums& sums, int64_t block, const float* origin, double n,
           double count) const {
    const float *sum = sums.of(block, kSum), *around = sums.of(block, kSquares);
    const float *low = sums.of(block, kMin), *high = sums.of(block, kMax);
    const double inverse = 1 / count, share = count / (n + count);
    for (int64_t c = channels.begin; c < channels.end; ++c) {
      const double offset = sum[c] * inverse, delta = origin[c] + offset - mean[c];
      mean[c] += delta * share;
      squares[c] += around[c] - count * offset * offset + delta * delta * n * share;
      min[c] = std::min(min[c], low[c]);
      max[c] = std::max(max[c], high[c]);
    }
  }
};

}  // namespace

/// The blocks merged in order, in double.
Moments batch_moments(const Tensor& x, Communicator* group) {
  const BlockMoments parts = block_moments(x);
  const BlockSums& sums = parts.sums;
  const float* px = x.data();
  const int64_t C = sums.C;
  Moments m{Tensor::uninit({C}), Tensor::uninit({C}), Tensor::uninit({2, C}),
            static_cast<double>(Rows(x).rows)};
  float *min = m.extremes.data(), *max = min + C;
  std::copy_n(sums.of(0, kMin), C, min);
  std::copy_n(sums.of(0, kMax), C, max);
  std::vector<double> moments(static_cast<size_t>(2 * C));
  double *means = moments.data(), *squared = means + C;
  parallel_for(C, kMergedChannels, [&](Range channels) {
    const Merged merged{means, squared, min, max};
    double n = 0;
    for (int64_t block = 0; block < sums.blocks(); ++block) {
      const auto [first, rows] = parts.at[static_cast<size_t>(block)];
      merged.add(channels, sums, block, px + first * C, n, static_cast<double>(rows));
      n += static_cast<double>(rows);
    }
  });
  if (group) m.rows = merge_moments(*group, m.rows, moments);
  for (int64_t c = 0; c < C; ++c) {
    m.mean.data()[c] = static_cast<float>(means[c]);
    m.var.data()[c] = static_cast<float>(std::max(squared[c] / m.rows, 0.0));
  }
  return m;
}

}  // namespace pare
