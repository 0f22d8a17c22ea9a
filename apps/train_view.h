#pragma once
// A training run on the screen, and its rows in the run folder.

#include <chrono>
#include <memory>
#include <vector>

#include "apps/console.h"
#include "apps/data.h"
#include "apps/run_folder.h"
#include "nn/train.h"

namespace pare {

class TrainView final : public nn::Progress {
 public:
  using Images = std::vector<std::shared_ptr<const datasets::ImageSet>>;
  /// `images`: those whose unreadable files are told after an epoch that met new ones.
  TrainView(Console& console, RunFolder& folder, int64_t epochs, Images images);
  void on_batch(const nn::Moment& m) override;
  void on_epoch(const nn::EpochRow& row) override;

 private:
  using Clock = std::chrono::steady_clock;

  void tell_unreadable();

  Console& console_;
  RunFolder& folder_;
  int64_t epochs_;
  Images images_;
  std::vector<size_t> told_;  // unreadable files of each
  Clock::time_point shown_ = Clock::now();
};

}  // namespace pare
