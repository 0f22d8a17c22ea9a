#pragma once
// What travels from a data set to a training step.

#include <cstdint>
#include <optional>

#include "core/tensor.h"

namespace pare {

struct Batch {
  Tensor x;  // [N, H, W, C], normalized
  Tensor y;  // [N] class indices
};

/// One data set, delivered batch by batch, epoch by epoch. The batches depend on (seed, epoch,
/// index) alone.
struct BatchSource {
  virtual ~BatchSource() = default;
  virtual int64_t samples() const = 0;  // per epoch
  virtual int64_t batches() const = 0;  // per epoch
  virtual int64_t classes() const = 0;
  virtual Shape image_shape() const = 0;  // [H, W, C]

  /// Positions the source before batch `first` of `epoch`; an exact resume starts in the middle.
  virtual void start(int64_t epoch, int64_t first = 0) = 0;
  /// The next batch, or nothing at the end of the epoch.
  virtual std::optional<Batch> next() = 0;

  /// `for (auto& [x, y] : source)`: the rest of the epoch that start() chose.
  class Iterator {
   public:
    explicit Iterator(BatchSource* source) : source_(source) { ++*this; }
    Batch& operator*() { return *batch_; }
    Iterator& operator++() {
      batch_ = source_->next();
      return *this;
    }
    bool operator!=(std::nullptr_t) const { return batch_.has_value(); }

   private:
    BatchSource* source_;
    std::optional<Batch> batch_;
  };
  Iterator begin() { return Iterator(this); }
  std::nullptr_t end() { return nullptr; }
};

}  // namespace pare
