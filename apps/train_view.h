#pragma once
// A training run on the screen, and its rows in the run folder.

#include <chrono>

#include "apps/console.h"
#include "apps/run_folder.h"
#include "nn/train.h"

namespace pare {

class TrainView final : public nn::Progress {
 public:
  TrainView(Console& console, RunFolder& folder, int64_t epochs);
  void on_batch(const nn::Moment& m) override;
  void on_epoch(const nn::EpochRow& row) override;

 private:
  using Clock = std::chrono::steady_clock;

  Console& console_;
  RunFolder& folder_;
  int64_t epochs_;
  Clock::time_point shown_ = Clock::now();
};

}  // namespace pare
