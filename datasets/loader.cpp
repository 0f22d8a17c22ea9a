#include <algorithm>
#include <numeric>

#include "core/communicator.h"
#include "core/error.h"
#include "datasets/augment.h"
#include "datasets/prefetch.h"

namespace pare::datasets {

namespace {

// Streams of the seed: the order of an epoch, and what happens to each image in it.
constexpr uint64_t kOrder = 1, kViews = 2;

void check(const ImageSet& images, const LoaderOptions& o) {
  PARE_CHECK(images.image.dims() == 3 && (images.image[2] == 1 || images.image[2] == 3),
             "loader: images are ", images.image, ", expected [H, W, 1] or [H, W, 3]");
  PARE_CHECK(static_cast<int64_t>(images.pixels.size()) == images.count() * images.image.numel(),
             "loader: got ", images.pixels.size(), " pixel values, expected ", images.count(),
             " images of ", images.image);
  PARE_CHECK(o.batch_size > 0, "loader: batch_size must be > 0, got ", o.batch_size);
  PARE_CHECK(o.ranks > 0 && o.rank >= 0 && o.rank < o.ranks, "loader: there is no process ", o.rank,
             " of ", o.ranks);
  PARE_CHECK(o.batch_size >= o.ranks, "loader: a batch of ", o.batch_size,
             " images cannot be shared by ", o.ranks, " processes",
             hint("the batch size is that of all processes together"));
  PARE_CHECK(o.crop_pad >= 0, "loader: crop_pad must be >= 0, got ", o.crop_pad);
  PARE_CHECK(o.views >= 0, "loader: views must be >= 0, got ", o.views);
  PARE_CHECK(o.prefetch >= 0, "loader: prefetch must be >= 0, got ", o.prefetch);
  for (float s : o.normalize.std) PARE_CHECK(s > 0, "loader: std must be > 0, got ", s);
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
  Batch make(int64_t index) const;

  std::shared_ptr<const ImageSet> images_;
  LoaderOptions opt_;
  LookupTable table_;

  bool started_ = false;
  int64_t epoch_ = 0, next_ = 0;
  std::vector<int64_t> order_;        // of this epoch
  std::unique_ptr<Prefetch> thread_;  // last: it reads everything above
};

void Loader::start(int64_t epoch, int64_t first) {
  PARE_CHECK(epoch >= 0, "loader: epoch must be >= 0, got ", epoch);
  PARE_CHECK(first >= 0 && first <= batches(), "loader: cannot start at batch ", first,
             " of an epoch with ", batches());
  thread_.reset();  // before what it reads is changed
  started_ = true;
  epoch_ = epoch;
  next_ = first;
  order_.resize(static_cast<size_t>(images_->count()));
  std::iota(order_.begin(), order_.end(), int64_t{0});
  if (opt_.shuffle) {
    Rng rng = Rng(opt_.seed, kOrder).split(static_cast<uint64_t>(epoch));
    rng.shuffle(order_);
  }
  if (opt_.prefetch > 0) {
    thread_ = std::make_unique<Prefetch>([this](int64_t i) { return make(i); }, first, batches(),
                                         opt_.prefetch);
  }
}

std::optional<Batch> Loader::next() {
  if (!started_) start(0, 0);
  if (thread_) return thread_->next();
  if (next_ == batches()) return std::nullopt;
  return make(next_++);
}

/// Single-threaded on purpose: it runs beside the training step, whose threads own the cores.
Batch Loader::make(int64_t index) const {
  const int64_t first = index * opt_.batch_size;
  const int64_t all = std::min(opt_.batch_size, samples() - first);
  const int64_t begin = first + part_begin(all, opt_.rank, opt_.ranks);
  const int64_t end = first + part_begin(all, opt_.rank + 1, opt_.ranks);
  const Shape& image = images_->image;
  const int64_t drawn = opt_.views > 0 ? epoch_ % opt_.views : epoch_;
  const Rng views = Rng(opt_.seed, kViews).split(static_cast<uint64_t>(drawn));
  Batch batch{Tensor::uninit({end - begin, image[0], image[1], image[2]}),
              Tensor::uninit({end - begin})};
  float* x = batch.x.data();
  float* y = batch.y.data();
  for (int64_t i = begin; i < end; ++i, x += image.numel()) {
    const int64_t at = order_[static_cast<size_t>(i)];
    Rng rng = views.split(static_cast<uint64_t>(at));  // one stream per image: any order will do
    const View view = random_view(opt_.crop_pad, opt_.flip, rng);
    place(images_->pixels.data() + at * image.numel(), image, view, table_, x);
    *y++ = static_cast<float>(images_->labels[static_cast<size_t>(at)]);
  }
  return batch;
}

}  // namespace

std::unique_ptr<BatchSource> loader(std::shared_ptr<const ImageSet> images,
                                    const LoaderOptions& options) {
  PARE_CHECK(images, "loader: got no images");
  check(*images, options);
  return std::make_unique<Loader>(std::move(images), options);
}

}  // namespace pare::datasets
