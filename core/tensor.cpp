#include "core/tensor.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/deferred.h"
#include "core/error.h"
#include "core/kernels/isa.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "core/tensor_impl.h"

namespace pare {

namespace {

/// Fills in parallel from the generator's next numbers: element i is a function of its counter
/// alone.
template <class F>
void fill_from(Tensor& t, Rng& rng, int64_t numbers_each, F&& value) {
  float* p = t.data();
  const Rng::State at = rng.state();
  parallel_for(t.numel(), kGrain, [&](Range r) {
    Rng local = rng;
    for (int64_t i = r.begin; i < r.end; ++i) {
      local.set_state({at.key, at.counter + static_cast<uint64_t>(i * numbers_each)});
      p[i] = value(local);
    }
  });
  rng.set_state({at.key, at.counter + static_cast<uint64_t>(t.numel() * numbers_each)});
}

}  // namespace

Tensor Tensor::uninit(const Shape& shape) {
  active_isa();  // settles PARE_ISA before the first kernel runs
  Tensor t;
  t.impl_ = std::make_shared<Impl>();
  t.impl_->shape = shape;
  t.impl_->storage = std::make_shared<Storage>();
  t.impl_->storage->buffer = Buffer(static_cast<size_t>(shape.numel()));
  return t;
}

Tensor Tensor::deferred(const Shape& shape, std::shared_ptr<Deferred> work,
                        const std::vector<Tensor>& reads) {
  active_isa();
  work->shape = shape;
  Tensor t;
  t.impl_ = std::make_shared<Impl>();
  t.impl_->shape = shape;
  t.impl_->storage = std::make_shared<Storage>();
  t.impl_->storage->pending = std::move(work);
  t.settle_or_wait_for(reads);
  return t;
}

Tensor Tensor::deferred_in(const Tensor& place, std::shared_ptr<Deferred> work,
                           const std::vector<Tensor>& reads) {
  place.data();
  Tensor t = place.detach();
  work->shape = place.shape();
  t.impl_->storage->pending = std::move(work);
  t.settle_or_wait_for(reads);
  return t;
}

void Tensor::settle_or_wait_for(const std::vector<Tensor>& reads) {
  if (!fusion_enabled()) return impl_->storage->compute();
  for (const Tensor& source : reads) {
    if (source) source.impl_->storage->add_reader(impl_->storage);
  }
}

std::shared_ptr<Deferred> Tensor::Storage::begin() {
  std::shared_ptr<Deferred> work = std::exchange(pending, nullptr);
  if (!buffer.data()) buffer = Buffer(static_cast<size_t>(work->shape.numel()));
  return work;
}

void Tensor::Storage::compute(const BlockVisitor* visit) {
  // Off the storage first, so that the work may drop its source as soon as it is done.
  const std::shared_ptr<Deferred> work = begin();
  visit ? work->run(buffer.data(), *visit) : work->run(buffer.data());
}

void Tensor::Storage::compute_readers() {
  for (const auto& reader : std::exchange(readers, {})) {
    const std::shared_ptr<Storage> s = reader.lock();
    if (s && s->pending) s->compute();
  }
}

void Tensor::Storage::add_reader(const std::shared_ptr<Storage>& reader) {
  // Weights that are read again and again and never changed do not collect readers.
  std::erase_if(readers, [](const auto& r) {
    const auto s = r.lock();
    return !s || !s->pending;
  });
  readers.push_back(reader);
}

Tensor Tensor::full(const Shape& shape, float value) {
  Tensor t = uninit(shape);
  t.fill_(value);
  return t;
}

Tensor Tensor::of(std::initializer_list<float> values) {
  return of({values.begin(), values.size()}, {static_cast<int64_t>(values.size())});
}

Tensor Tensor::of(std::span<const float> values, const Shape& shape) {
  PARE_CHECK(static_cast<int64_t>(values.size()) == shape.numel(), "tensor: got ", values.size(),
             " values, shape ", shape, " holds ", shape.numel());
  Tensor t = uninit(shape);
  std::copy(values.begin(), values.end(), t.data());
  return t;
}

Tensor Tensor::uniform(const Shape& shape, Rng& rng, float lo, float hi) {
  Tensor t = uninit(shape);
  t.uniform_(rng, lo, hi);
  return t;
}

Tensor Tensor::normal(const Shape& shape, Rng& rng, float mean, float stddev) {
  Tensor t = uninit(shape);
  t.normal_(rng, mean, stddev);
  return t;
}

const Shape& Tensor::shape() const {
  PARE_CHECK(impl_, "tensor: an empty tensor was used where values are needed");
  return impl_->shape;
}

const float* Tensor::data() const {
  PARE_CHECK(impl_, "tensor: an empty tensor was used where values are needed");
  Storage& s = *impl_->storage;
  if (s.pending) s.compute();
  return s.buffer.data();
}

float* Tensor::data() {
  const float* values = std::as_const(*this).data();
  Storage& s = *impl_->storage;
  if (!s.readers.empty()) s.compute_readers();
  s.grid.reset();
  return const_cast<float*>(values);
}

void settle(const Tensor& t, BlockVisitor visit) { TapeAccess::of(t).storage->compute(&visit); }

WeakTensor::WeakTensor(const Tensor& t) : storage_(TapeAccess::of(t).storage) {}

void WeakTensor::compute() const {
  const std::shared_ptr<void> kept = storage_.lock();
  if (const auto s = std::static_pointer_cast<TapeAccess::Storage>(kept); s && s->pending) {
    s->compute();
  }
}

RowWalk::RowWalk(const Tensor& t) {
  auto& s = *TapeAccess::of(t).storage;
  if (s.pending && s.pending->by_rows()) work_ = s.begin();
  if (s.pending) s.compute();
  y_ = s.buffer.data();
}

float Tensor::item() const {
  PARE_CHECK(numel() == 1, "tensor: item() needs one element, shape is ", shape());
  return data()[0];
}

float Tensor::at(std::initializer_list<int64_t> index) const {
  PARE_CHECK(static_cast<int>(index.size()) == dims(), "tensor: at() with ", index.size(),
             " indices on shape ", shape());
  int64_t offset = 0;
  int d = 0;
  for (int64_t i : index) {
    PARE_CHECK(i >= 0 && i < dim(d), "tensor: index ", i, " in dimension ", d, " of ", shape());
    offset = offset * dim(d++) + i;
  }
  return data()[offset];
}

const std::shared_ptr<Deferred>& Tensor::pending() const {
  static const std::shared_ptr<Deferred> none;
  if (!impl_ || !impl_->storage->pending || impl_->storage->pending->shape != impl_->shape)
    return none;
  return impl_->storage->pending;
}

bool Tensor::unique() const { return impl_.use_count() == 1 && impl_->storage.use_count() == 1; }

const std::shared_ptr<const IntegerGrid>& Tensor::grid() const {
  static const std::shared_ptr<const IntegerGrid> none;
  return impl_ ? impl_->storage->grid : none;
}

void Tensor::set_grid(std::shared_ptr<const IntegerGrid> grid) {
  impl_->storage->grid = std::move(grid);
}

Tensor& Tensor::fill_(float value) {
  float* p = data();
  parallel_for(numel(), kGrain, [&](Range r) { std::fill(p + r.begin, p + r.end, value); });
  return *this;
}

Tensor& Tensor::copy_(const Tensor& source) {
  PARE_CHECK(source.shape() == shape(), "tensor: copy_ from ", source.shape(), " to ", shape());
  const float* from = source.data();
  float* to = data();
  parallel_for(numel(), kGrain,
               [&](Range r) { std::copy(from + r.begin, from + r.end, to + r.begin); });
  return *this;
}

Tensor& Tensor::uniform_(Rng& rng, float lo, float hi) {
  fill_from(*this, rng, 1, [&](Rng& r) { return r.uniform(lo, hi); });
  return *this;
}

Tensor& Tensor::normal_(Rng& rng, float mean, float stddev) {
  fill_from(*this, rng, 2, [&](Rng& r) { return mean + stddev * r.normal(); });
  return *this;
}

Tensor Tensor::clone() const {
  Tensor t = uninit(shape());
  t.copy_(*this);
  return t;
}

Tensor Tensor::detach() const { return impl_ ? view(shape()) : Tensor{}; }

Tensor Tensor::view(const Shape& shape) const {
  PARE_CHECK(shape.numel() == numel(), "tensor: view of ", this->shape(), " as ", shape);
  Tensor t;
  t.impl_ = std::make_shared<Impl>();
  t.impl_->shape = shape;
  t.impl_->storage = impl_->storage;
  return t;
}

Tensor Tensor::reshape(const Shape& shape) const { return pare::reshape(*this, shape); }

bool operator==(const Tensor& a, const Tensor& b) {
  if (!a || !b) return !a && !b;
  return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.numel(), b.data());
}

std::ostream& operator<<(std::ostream& out, const Tensor& t) {
  if (!t) return out << "[] (empty)";
  constexpr int64_t kShown = 16;
  out << t.shape() << " {";
  for (int64_t i = 0; i < std::min(t.numel(), kShown); ++i) out << (i ? ", " : "") << t.data()[i];
  return out << (t.numel() > kShown ? ", ...}" : "}");
}

namespace {

/// [n, a, b] -> [n, b, a]
Tensor swap_inner(const Tensor& t, int64_t n, int64_t a, int64_t b, const Shape& shape) {
  Tensor out = Tensor::uninit(shape);
  const float* from = t.data();
  float* to = out.data();
  parallel_for(n, 1, [&](Range r) {
    for (int64_t k = r.begin; k < r.end; ++k) {
      const float* f = from + k * a * b;
      float* g = to + k * a * b;
      for (int64_t i = 0; i < a; ++i) {
        for (int64_t j = 0; j < b; ++j) g[j * a + i] = f[i * b + j];
      }
    }
  });
  return out;
}

}  // namespace

Tensor nchw_to_nhwc(const Tensor& t) {
  PARE_CHECK(t.dims() == 4, "nchw_to_nhwc: needs 4 dimensions, got ", t.shape());
  return swap_inner(t, t.dim(0), t.dim(1), t.dim(2) * t.dim(3),
                    {t.dim(0), t.dim(2), t.dim(3), t.dim(1)});
}

Tensor nhwc_to_nchw(const Tensor& t) {
  PARE_CHECK(t.dims() == 4, "nhwc_to_nchw: needs 4 dimensions, got ", t.shape());
  return swap_inner(t, t.dim(0), t.dim(1) * t.dim(2), t.dim(3),
                    {t.dim(0), t.dim(3), t.dim(1), t.dim(2)});
}

}  // namespace pare
