#include <algorithm>
#include <numeric>

#include "core/communicator.h"
#include "core/error.h"
#include "core/parallel.h"
#include "datasets/augment.h"
#include "datasets/mix.h"
#include "datasets/prefetch.h"

namespace pare::datasets {

namespace {

// Streams of the seed: the order of an epoch, what happens to each image in it, and to each batch.
constexpr uint64_t kOrder = 1, kViews = 2, kMixes = 3;

void check(const ImageSet& images, const LoaderOptions& o) {
  PARE_CHECK(o.batch_size > 0, "loader: batch_size must be > 0, got ", o.batch_size);
  PARE_CHECK(o.ranks > 0 && o.rank >= 0 && o.rank < o.ranks, "loader: there is no process ", o.rank,
             " of ", o.ranks);
  PARE_CHECK(o.batch_size >= o.ranks, "loader: a batch of ", o.batch_size,
             " images cannot be shared by ", o.ranks, " processes",
             hint("the batch size is that of all processes together"));
  PARE_CHECK(o.views >= 0, "loader: views must be >= 0, got ", o.views);
  PARE_CHECK(o.prefetch >= 0, "loader: prefetch must be >= 0, got ", o.prefetch);
  PARE_CHECK(o.threads >= 0, "loader: threads must be >= 0, got ", o.threads);
  for (float s : o.normalize.std) PARE_CHECK(s > 0, "loader: std must be > 0, got ", s);
  const Augment& a = o.augment;
  PARE_CHECK(a.crop_area >= 0 && a.crop_area <= 1, "loader: crop_area must be in 0 .. 1, got ",
             a.crop_area);
  PARE_CHECK(a.jitter >= 0 && a.jitter <= 1, "loader: jitter must be in 0 .. 1, got ", a.jitter);
  PARE_CHECK(a.rand_ops >= 0, "loader: rand_ops must be >= 0, got ", a.rand_ops);
  PARE_CHECK(a.rand_magnitude >= 0 && a.rand_magnitude <= 30,
             "loader: rand_magnitude must be in 0 .. 30, got ", a.rand_magnitude);
  PARE_CHECK(a.mixup >= 0 && a.cutmix >= 0, "loader: mixup and cutmix must be >= 0, got ", a.mixup,
             " and ", a.cutmix);
  PARE_CHECK(o.views == 0 || (a.mixup == 0 && a.cutmix == 0),
             "loader: views cannot repeat where images are mixed with others, got mixup ", a.mixup,
             " and cutmix ", a.cutmix);
  images.check(a);
}

class Loader final : public BatchSource {
 public:
  Loader(std::shared_ptr<const ImageSet> images, const LoaderOptions& options)
      : images_(std::move(images)), opt_(options), table_(lookup_table(options.normalize)) {}

  int64_t samples() const override {
    return std::min(images_->count(), batches() * opt_.batch_size);
  }
  int64_t batches() const override {
    const int64_t n = images_->count(), b = opt_.batch_size;
    const bool last = n % b >= opt_.ranks && !opt_.drop_last;  // of fewer images than the others
    return n / b + last;
  }
  int64_t classes() const override { return images_->classes(); }
  Shape image_shape() const override { return images_->image; }

  void start(int64_t epoch, int64_t first) override;
  std::optional<Batch> next() override;

 private:
  class Assembly;
  std::unique_ptr<Job> make(int64_t index) const;

  std::shared_ptr<const ImageSet> images_;
  LoaderOptions opt_;
  LookupTable table_;

  bool started_ = false;
  int64_t epoch_ = 0, next_ = 0;
  std::vector<int64_t> order_;          // of this epoch
  std::unique_ptr<Prefetch> prefetch_;  // last: it reads everything above
};

/// This process's part of one batch. Every image has its own stream of random numbers: any order
/// and any thread will do.
class Loader::Assembly final : public Job {
 public:
  Assembly(const Loader& loader, int64_t index) : loader_(loader), index_(index) {
    const LoaderOptions& o = loader.opt_;
    const int64_t first = index * o.batch_size;
    const int64_t all = std::min(o.batch_size, loader.samples() - first);
    begin_ = first + part_begin(all, o.rank, o.ranks);
    count_ = first + part_begin(all, o.rank + 1, o.ranks) - begin_;
    const Shape& image = loader_.images_->image;
    batch_ = {Tensor::uninit({count_, image[0], image[1], image[2]}), Tensor::uninit({count_})};
    x_ = batch_.x.data(), y_ = batch_.y.data();
  }

  int64_t pieces() const override { return (count_ + grain() - 1) / grain(); }

  void work(int64_t piece) override {
    const Rng views = random(kViews);
    const int64_t end = std::min(count_, (piece + 1) * grain());
    for (int64_t i = piece * grain(); i < end; ++i) draw(i, views);
  }

  Batch finish() override {
    const Augment& a = loader_.opt_.augment;
    if (a.mixup > 0 || a.cutmix > 0) {
      Rng rng = random(kMixes).split(static_cast<uint64_t>(index_));
      mix(batch_, a, loader_.classes(), rng);
    }
    return std::move(batch_);
  }

 private:
  int64_t grain() const {
    constexpr int64_t kQuickImages = 64;  // worth the hand-over
    return loader_.images_->slow() ? 1 : kQuickImages;
  }
  /// Views are the image's, whatever the seed: runs with other seeds meet them again.
  Rng random(uint64_t stream) const {
    const int64_t views = loader_.opt_.views;
    if (views > 0) return Rng(0, stream).split(static_cast<uint64_t>(loader_.epoch_ % views));
    return Rng(loader_.opt_.seed, stream).split(static_cast<uint64_t>(loader_.epoch_));
  }

  /// Row i. The size of a batch never changes: where an image cannot be read stands the next one
  /// of the epoch that can.
  void draw(int64_t i, const Rng& views) {
    constexpr int64_t kMostAttempts = 100;
    const ImageSet& images = *loader_.images_;
    const int64_t attempts = std::min(kMostAttempts, images.count());
    for (int64_t step = 0; step < attempts; ++step) {
      const int64_t at = loader_.order_[static_cast<size_t>((begin_ + i + step) % images.count())];
      Rng rng = views.split(static_cast<uint64_t>(at));
      y_[i] = static_cast<float>(images.labels[static_cast<size_t>(at)]);
      if (images.draw(at, loader_.opt_.augment, loader_.table_, rng,
                      x_ + i * images.image.numel())) {
        return;
      }
    }
    const Unreadable last = images.unreadable().back();
    throw Error(str(attempts, " images in a row could not be read; ", last.file, ": ", last.reason),
                "loader");
  }

  const Loader& loader_;
  int64_t index_, begin_, count_;
  Batch batch_;
  float *x_, *y_;
};

void Loader::start(int64_t epoch, int64_t first) {
  PARE_CHECK(epoch >= 0, "loader: epoch must be >= 0, got ", epoch);
  PARE_CHECK(first >= 0 && first <= batches(), "loader: cannot start at batch ", first,
             " of an epoch with ", batches());
  prefetch_.reset();  // before what it reads is changed
  started_ = true;
  epoch_ = epoch;
  next_ = first;
  order_.resize(static_cast<size_t>(images_->count()));
  std::iota(order_.begin(), order_.end(), int64_t{0});
  if (opt_.shuffle) {
    Rng rng = Rng(opt_.seed, kOrder).split(static_cast<uint64_t>(epoch));
    rng.shuffle(order_);
  }
  if (opt_.prefetch == 0) return;
  const int threads = opt_.threads > 0 ? opt_.threads : images_->slow() ? num_threads() : 1;
  prefetch_ = std::make_unique<Prefetch>([this](int64_t i) { return make(i); }, first, batches(),
                                         opt_.prefetch, threads);
}

std::optional<Batch> Loader::next() {
  if (!started_) start(0, 0);
  if (prefetch_) return prefetch_->next();
  if (next_ == batches()) return std::nullopt;
  const auto job = make(next_++);
  for (int64_t piece = 0; piece < job->pieces(); ++piece) job->work(piece);
  return job->finish();
}

std::unique_ptr<Job> Loader::make(int64_t index) const {
  return std::make_unique<Assembly>(*this, index);
}

}  // namespace

std::unique_ptr<BatchSource> loader(std::shared_ptr<const ImageSet> images,
                                    const LoaderOptions& options) {
  PARE_CHECK(images, "loader: got no images");
  check(*images, options);
  return std::make_unique<Loader>(std::move(images), options);
}

}  // namespace pare::datasets
