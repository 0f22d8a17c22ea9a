#include "nn/data_parallel.h"

#include <algorithm>
#include <bit>

#include "core/ops.h"
#include "core/parallel.h"
#include "nn/layers.h"

namespace pare::nn {

namespace {

std::vector<Tensor> state_of(const Layer& model, const Layer* beside) {
  std::vector<Tensor> state;
  for (const Layer* layer : {&model, beside}) {
    if (!layer || !*layer) continue;
    for (const auto& list : {parameters(*layer), buffers(*layer)}) {
      for (const NamedTensor& t : list) state.push_back(t.tensor);
    }
  }
  return state;
}

/// Four numbers, samples first.
std::vector<double> numbers_of(const Score& s) {
  return {static_cast<double>(s.samples), static_cast<double>(s.hits1),
          static_cast<double>(s.hits5), s.loss_sum};
}

Score to_score(const double* numbers) {
  return {static_cast<int64_t>(numbers[0]), static_cast<int64_t>(numbers[1]),
          static_cast<int64_t>(numbers[2]), numbers[3]};
}

/// 32 bits of all values, FNV-1a over their words.
uint32_t hash_of(const std::vector<Tensor>& tensors) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const Tensor& t : tensors) {
    for (const float value : t.span())
      hash = (hash ^ std::bit_cast<uint32_t>(value)) * 0x100000001b3u;
  }
  return static_cast<uint32_t>(hash >> 32) ^ static_cast<uint32_t>(hash);
}

}  // namespace

Score sum_over(Communicator& group, const Score& mine) {
  if (group.alone()) return mine;
  std::vector<double> numbers = numbers_of(mine);
  group.sum(numbers);
  return to_score(numbers.data());
}

int synchronize_batch_norm(Layer& model, Communicator& group) {
  int count = 0;
  for_each_layer(model, [&](const std::string&, Layer& layer) {
    if (auto* norm = layer.as<BatchNorm2d>()) norm->group = &group, ++count;
  });
  return count;
}

GradientSum::GradientSum(Communicator& group, const std::vector<ParamGroup>& groups,
                         int64_t bucket_bytes)
    : group_(group) {
  if (group_.alone()) return;
  std::vector<Tensor> all;
  for (const ParamGroup& g : groups) {
    for (const NamedTensor& p : g.params) all.push_back(p.tensor);
  }
  const int64_t most = std::max<int64_t>(1, bucket_bytes / static_cast<int64_t>(sizeof(float)));
  std::reverse(all.begin(), all.end());  // the last layers' gradients come first
  for (const Tensor& p : all) {
    if (buckets_.empty() || buckets_.back().numel >= most) buckets_.emplace_back();
    Bucket& b = buckets_.back();
    slots_[p.id()] = {buckets_.size() - 1, b.members.size()};
    b.members.push_back({p, b.numel});
    b.numel += p.numel();
  }
  for (Bucket& b : buckets_) {
    b.values = Tensor::zeros({b.numel + static_cast<int64_t>(b.members.size()) + 1});
  }
}

void GradientSum::backward(const Tensor& loss, int64_t images) {
  if (group_.alone()) return loss.backward();
  started_ = 0;
  const auto weight = static_cast<float>(images);
  for (Bucket& b : buckets_) {
    b.missing = b.members.size();
    b.values.data()[b.values.numel() - 1] = weight;
  }
  for (auto& [id, slot] : slots_) slot.finished = false;
  pare::backward(loss, Tensor::full(loss.shape(), weight), *this);
  for (auto& [id, slot] : slots_) {
    if (!slot.finished) fill(slot);  // not part of this loss
  }
  start_complete();
  group_.finish_sums();
  for (const Bucket& b : buckets_) take(b);
}

void GradientSum::finished(const Tensor& leaf) {
  const auto it = slots_.find(leaf.id());
  if (it == slots_.end() || it->second.finished) return;
  fill(it->second);
  start_complete();
}

void GradientSum::fill(Slot& slot) {
  Bucket& b = buckets_[slot.bucket];
  const Member& m = b.members[slot.member];
  const Tensor& grad = m.parameter.grad();
  float* to = b.values.data() + m.offset;
  if (grad) {
    const std::span<const float> from = grad.span();
    std::copy(from.begin(), from.end(), to);
  } else {
    std::fill_n(to, m.parameter.numel(), 0.0f);
  }
  b.values.data()[b.numel + static_cast<int64_t>(slot.member)] = grad ? 1.0f : 0.0f;
  slot.finished = true;
  --b.missing;
}

/// In the order of the buckets, which is the same everywhere, whatever is finished first.
void GradientSum::start_complete() {
  while (started_ < buckets_.size() && buckets_[started_].missing == 0) {
    group_.start_sum(buckets_[started_++].values.span());
  }
}

void GradientSum::take(const Bucket& b) {
  const float* values = b.values.data();
  const float images = values[b.values.numel() - 1];
  for (size_t i = 0; i < b.members.size(); ++i) {
    if (values[b.numel + static_cast<int64_t>(i)] == 0) continue;  // nobody has this gradient
    Tensor parameter = b.members[i].parameter;
    Tensor grad = Tensor::uninit(parameter.shape());
    const float* from = values + b.members[i].offset;
    float* to = grad.data();
    parallel_for(grad.numel(), kGrain, [&](Range r) {
      for (int64_t j = r.begin; j < r.end; ++j) to[j] = from[j] / images;
    });
    parameter.set_grad(grad);
  }
}

DataParallel::DataParallel(Communicator& group, Layer& model, Layer* beside, Optimizer& optimizer)
    : group_(group), model_(model), beside_(beside), gradients_(group, optimizer.groups()) {
  if (group_.alone()) return;
  for (Tensor& t : state_of(model_, beside_)) group_.broadcast(std::as_writable_bytes(t.span()));
}

void DataParallel::begin() {
  group_.meet();  // all have read what they start from, before it is written again
  if (group_.first()) return;
  for_each_layer(model_, [&](const std::string&, Layer& layer) {
    auto* dropout = layer.as<Dropout>();
    if (!dropout) return;
    const Rng own = dropout->rng.split(static_cast<uint64_t>(group_.rank()));
    dropout->rng.set_state({own.key(), dropout->rng.state().counter});
  });
}

Score DataParallel::finish(const Score& mine, bool& stop) {
  if (group_.alone()) return mine;
  std::vector<double> numbers = numbers_of(mine);
  numbers.push_back(stop ? 1 : 0);
  const size_t first = numbers.size();
  const auto images = static_cast<double>(mine.samples);
  std::vector<NamedTensor> state = buffers(model_);
  for (const NamedTensor& t : state) {
    for (const float value : t.tensor.span()) numbers.push_back(images * double{value});
  }
  group_.sum(numbers);  // in double: where all agree, the mean is the value itself
  size_t next = first;
  for (NamedTensor& t : state) {
    for (float& value : t.tensor.span()) value = static_cast<float>(numbers[next++] / numbers[0]);
  }
  stop = numbers[first - 1] > 0;
  return to_score(numbers.data());
}

void DataParallel::check_equal() const {
  if (group_.alone()) return;
  const double mine = hash_of(state_of(model_, beside_));
  double sum = mine;
  group_.sum({&sum, 1});
  PARE_CHECK(sum == mine * group_.size(), "the processes' weights are not the same any more",
             hint("all machines must compute alike: set PARE_ISA to what the weakest one has"));
}

}  // namespace pare::nn
