#pragma once

#include <utility>
#include <vector>

#include "core/batch.h"

namespace pare::test {

/// A few fixed batches.
struct Images final : BatchSource {
  explicit Images(std::vector<Batch> all) : list(std::move(all)) {}
  int64_t samples() const override { return batches() * list[0].x.dim(0); }
  int64_t batches() const override { return static_cast<int64_t>(list.size()); }
  int64_t classes() const override { return 2; }
  Shape image_shape() const override { return {8, 8, 3}; }
  void start(int64_t, int64_t first) override { at = static_cast<size_t>(first); }
  std::optional<Batch> next() override {
    if (at == list.size()) return {};
    return list[at++];
  }
  std::vector<Batch> list;
  size_t at = 0;
};

}  // namespace pare::test
