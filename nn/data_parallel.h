#pragma once
// One training step by several processes, each with its part of the batch: gradients are those of
// all images, and weights stay the same everywhere.

#include <unordered_map>
#include <vector>

#include "core/autograd.h"
#include "core/communicator.h"
#include "nn/metrics.h"
#include "nn/optim.h"

namespace pare::nn {

/// Of all processes' images.
Score sum_over(Communicator& group, const Score& mine);

/// Batch norms take their batch statistics over all processes, which must outlive the model.
/// Returns how many there are.
int synchronize_batch_norm(Layer& model, Communicator& group);

/// Gradients summed over the processes in buckets: a bucket's sum is started as soon as backward()
/// has finished the gradients in it, and goes on while the gradients of earlier layers are
/// computed.
class GradientSum final : GradWatcher {
 public:
  static constexpr int64_t kBucketBytes = 512 * 1024;

  GradientSum(Communicator& group, const std::vector<ParamGroup>& groups,
              int64_t bucket_bytes = kBucketBytes);
  /// `loss` is the mean over `images` images here. Afterwards every process has the gradients of
  ///   sum_p images_p loss_p / sum_p images_p
  void backward(const Tensor& loss, int64_t images);
  size_t buckets() const { return buckets_.size(); }

 private:
  struct Member {
    Tensor parameter;
    int64_t offset;
  };
  /// Gradients one after the other, then for each 1 if it exists here, then the number of images.
  struct Bucket {
    std::vector<Member> members;
    int64_t numel = 0;
    Tensor values;
    size_t missing = 0;  // gradients, in this step
  };
  struct Slot {
    size_t bucket, member;
    bool finished = false;
  };

  void finished(const Tensor& leaf) override;
  void progress() override { group_.progress(); }
  void fill(Slot& slot);
  void start_complete();
  static void take(const Bucket& bucket);

  Communicator& group_;
  std::vector<Bucket> buckets_;
  std::unordered_map<const void*, Slot> slots_;  // by Tensor::id()
  size_t started_ = 0;                           // buckets, in this step
};

/// What a Trainer does with a group; with a group of one, nothing.
class DataParallel {
 public:
  /// Every process gets the first one's weights. `beside` may be null. All must outlive this.
  DataParallel(Communicator& group, Layer& model, Layer* beside, Optimizer& optimizer);

  /// Every process gets dropout masks of its own.
  void begin();
  void backward(const Tensor& loss, int64_t images) { gradients_.backward(loss, images); }
  /// Running statistics become the means over all images' processes. Returns the score of all;
  /// `stop` becomes true if it is for any.
  Score finish(const Score& mine, bool& stop);
  /// Throws unless all processes have the same weights.
  void check_equal() const;

 private:
  Communicator& group_;
  Layer& model_;
  Layer* beside_;
  GradientSum gradients_;
};

}  // namespace pare::nn
