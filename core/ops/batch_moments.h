#pragma once
// Sums over the rows of a tensor [..., C], block by block: what batch norm's two passes are made
// of. Private to core/ops.

#include <algorithm>
#include <vector>

#include "core/communicator.h"
#include "core/parallel.h"
#include "core/tensor.h"

namespace pare {

/// Rows are cut into shards by shape alone and their sums merged in order: the same bits for any
/// thread count, and float32 sums that stay short.
inline constexpr int64_t kShardRows = 512;

/// Channels whose blocks' sums are worth handing to a thread.
inline constexpr int64_t kMergedChannels = 8;

struct Rows {
  int64_t rows, channels;
  explicit Rows(const Tensor& x)
      : rows(x.numel() / std::max<int64_t>(x.dim(-1), 1)), channels(x.dim(-1)) {}
  int64_t shards() const { return (rows + kShardRows - 1) / kShardRows; }

  /// f(shard, first row, number of rows)
  template <class F>
  void for_each_shard(F&& f) const {
    parallel_for(shards(), 1, [&](Range r) {
      for (int64_t s = r.begin; s < r.end; ++s) {
        f(s, s * kShardRows, std::min(kShardRows, rows - s * kShardRows));
      }
    });
  }
};

struct Moments {
  Tensor mean, var;  // [C], biased
  Tensor extremes;   // [2, C]: min and max of this process; nothing without finite mean and var
  double rows = 0;
};

/// `kinds` numbers per channel of every block of rows.
struct BlockSums {
  BlockSums(int64_t blocks, int64_t each, int64_t channels)
      : C(channels),
        kinds(each),
        sums(Tensor::uninit({blocks, each, channels})),
        data(sums.data()) {}
  int64_t blocks() const { return sums.dim(0); }
  float* of(int64_t block, int64_t kind) const { return data + (block * kinds + kind) * C; }

  int64_t C, kinds;
  Tensor sums;
  float* data;
};

/// Mean and variance of each channel over the rows of x and, if there is a group, of all its
/// processes. Taken while blocks are in cache if x is only now computed.
Moments batch_moments(const Tensor& x, Communicator* group);

}  // namespace pare
