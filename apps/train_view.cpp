#include "apps/train_view.h"

#include <fmt/format.h>

namespace pare {

namespace {

constexpr double kBarSeconds = 0.1;    // between redraws on a terminal
constexpr double kLineSeconds = 30.0;  // between lines in a log
constexpr int64_t kBarWidth = 10;

std::string epoch_of(int64_t epoch, int64_t epochs) { return fmt::format("{}/{}", epoch, epochs); }

/// Fits into 80 columns up to a thousand epochs: "   12/300  [####......]  loss ...". Testing draws
/// =.
std::string status_line(const nn::Moment& m) {
  const auto filled = static_cast<size_t>(kBarWidth * m.batch / m.batches);
  const char fill = m.phase == nn::Moment::Phase::train ? '#' : '=';
  return fmt::format("{:>9}  [{}{}]  loss {:.4f}  top-1 {:.2f} %  {:.0f} img/s  {} left",
                     epoch_of(m.epoch, m.epochs), std::string(filled, fill),
                     std::string(kBarWidth - filled, '.'), m.score.loss(), m.score.top1(),
                     m.images_per_second, format_seconds(m.seconds_left));
}

std::string log_line(const nn::Moment& m) {
  return fmt::format("{:>9}  {} {:>3} %  loss {:.4f}  top-1 {:.2f} %  {:.0f} images/s  {} left",
                     epoch_of(m.epoch, m.epochs),
                     m.phase == nn::Moment::Phase::train ? "train" : "test ",
                     100 * m.batch / m.batches, m.score.loss(), m.score.top1(), m.images_per_second,
                     format_seconds(m.seconds_left));
}

constexpr const char* kRow = "{:>9}  {:>9}  {:>10}  {:>7}  {:>9}  {:>7}  {:>8}  {:>8}{}";

}  // namespace

TrainView::TrainView(Console& console, RunFolder& folder, int64_t epochs, Images images)
    : console_(console),
      folder_(folder),
      epochs_(epochs),
      images_(std::move(images)),
      told_(images_.size()) {
  console_.print("\n" + fmt::format(kRow, "epoch", "lr", "train loss", "top-1 %", "test loss",
                                    "top-1 %", "images/s", "time", ""));
}

void TrainView::on_batch(const nn::Moment& m) {
  const auto now = Clock::now();
  const double since = std::chrono::duration<double>(now - shown_).count();
  if (since < (console_.terminal() ? kBarSeconds : kLineSeconds)) return;
  shown_ = now;
  if (console_.terminal()) {
    console_.status(status_line(m));
  } else {
    console_.print(log_line(m));
  }
}

void TrainView::on_epoch(const nn::EpochRow& row) {
  shown_ = Clock::now();
  folder_.add_row(row);
  console_.print(
      fmt::format(kRow, epoch_of(row.epoch, epochs_), fmt::format("{:.4g}", row.lr),
                  fmt::format("{:.4f}", row.train.loss()), fmt::format("{:.2f}", row.train.top1()),
                  fmt::format("{:.4f}", row.test.loss()), fmt::format("{:.2f}", row.test.top1()),
                  fmt::format("{:.0f}", row.images_per_second), format_seconds(row.seconds),
                  row.partial ? "  stopped in mid-epoch"
                  : row.best  ? "  best"
                              : ""));
  tell_unreadable();
}

void TrainView::tell_unreadable() {
  for (size_t i = 0; i < images_.size(); ++i) {
    const std::vector<datasets::Unreadable> now = images_[i]->unreadable();
    if (now.size() > told_[i]) console_.entry("skipped", describe_unreadable(now));
    told_[i] = now.size();
  }
}

}  // namespace pare
