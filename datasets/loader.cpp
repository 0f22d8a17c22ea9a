#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/ops.h"
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
  images.check(a);
}

class Loader final : public BatchSource {
 public:
  Loader(std::shared_ptr<const ImageSet> images, const LoaderOptions& options)
      : images_(std::move(images)), opt_(options), table_(lookup_table(options.normalize)) {}

  int64_t samples() const override {
    if (opt_.drop_last) return batches() * opt_.batch_size;
    return images_->count() - images_->missing();
  }
  int64_t batches() const override {
    const int64_t n = images_->count(), b = opt_.batch_size;
    return opt_.drop_last ? n / b : (n + b - 1) / b;
  }
  int64_t classes() const override { return images_->classes(); }
  Shape image_shape() const override { return images_->image; }

  void start(int64_t epoch, int64_t first) override;
  std::optional<Batch> next() override;

 private:
  class Assembly;
  std::unique_ptr<Job> make(int64_t index) const;
  std::optional<Batch> next_or_empty();
  void check_any_readable() const;

  std::shared_ptr<const ImageSet> images_;
  LoaderOptions opt_;
  LookupTable table_;

  bool started_ = false;
  int64_t epoch_ = 0, next_ = 0;
  std::vector<int64_t> order_;          // of this epoch
  std::unique_ptr<Prefetch> prefetch_;  // last: it reads everything above
};

/// One batch. Every image has its own stream of random numbers: any order and any thread will do.
class Loader::Assembly final : public Job {
 public:
  Assembly(const Loader& loader, int64_t index)
      : loader_(loader),
        index_(index),
        begin_(index * loader.opt_.batch_size),
        count_(std::min(loader.opt_.batch_size, loader.images_->count() - begin_)),
        read_(static_cast<size_t>(count_)) {
    const Shape& image = loader_.images_->image;
    batch_ = {Tensor::uninit({count_, image[0], image[1], image[2]}), Tensor::uninit({count_})};
    x_ = batch_.x.data(), y_ = batch_.y.data();
  }

  int64_t pieces() const override { return (count_ + grain() - 1) / grain(); }

  void work(int64_t piece) override {
    const Rng views = random(kViews);
    const ImageSet& images = *loader_.images_;
    const int64_t end = std::min(count_, (piece + 1) * grain());
    for (int64_t i = piece * grain(); i < end; ++i) {
      const int64_t at = loader_.order_[static_cast<size_t>(begin_ + i)];
      Rng rng = views.split(static_cast<uint64_t>(at));
      read_[static_cast<size_t>(i)] =
          images.draw(at, loader_.opt_.augment, loader_.table_, rng, x_ + i * images.image.numel());
      y_[i] = static_cast<float>(images.labels[static_cast<size_t>(at)]);
    }
  }

  Batch finish() override {
    leave_out_unreadable();
    const Augment& a = loader_.opt_.augment;
    if (!batch_.x) return {};
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
  Rng random(uint64_t stream) const {
    return Rng(loader_.opt_.seed, stream).split(static_cast<uint64_t>(loader_.epoch_));
  }

  void leave_out_unreadable() {
    const int64_t size = loader_.images_->image.numel();
    int64_t kept = 0;
    for (int64_t i = 0; i < count_; ++i) {
      if (!read_[static_cast<size_t>(i)]) continue;
      if (kept < i) std::copy_n(x_ + i * size, size, x_ + kept * size);
      y_[kept++] = y_[i];
    }
    if (kept == count_) return;
    if (kept == 0) {
      batch_ = {};
    } else {
      batch_ = {slice(batch_.x, 0, 0, kept), slice(batch_.y, 0, 0, kept)};
    }
  }

  const Loader& loader_;
  int64_t index_, begin_, count_;
  std::vector<uint8_t> read_;
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
  for (;;) {
    std::optional<Batch> batch = next_or_empty();
    if (!batch) check_any_readable();
    if (!batch || batch->x) return batch;
  }
}

void Loader::check_any_readable() const {
  if (images_->missing() < images_->count()) return;
  const Unreadable last = images_->unreadable().back();
  throw Error(str("none of the ", images_->count(), " images could be read; ", last.file, ": ",
                  last.reason),
              "loader");
}

std::optional<Batch> Loader::next_or_empty() {
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
