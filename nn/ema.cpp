#include <algorithm>

#include "core/kernels/optim.h"
#include "core/parallel.h"
#include "nn/optim.h"
#include "nn/weight_entries.h"

namespace pare::nn {

Ema::Ema(const Layer& model, float decay) : live_(parameters(model)), decay_(decay) {
  PARE_CHECK(decay > 0 && decay < 1, "ema: decay must be between 0 and 1, got ", decay);
  for (NamedTensor& b : buffers(model)) live_.push_back(std::move(b));
  for (const auto& [name, tensor] : live_) average_.push_back({name, tensor.clone()});
}

void Ema::update() {
  const double t = static_cast<double>(updates_++);
  const double decay = std::min(double{decay_}, (1 + t) / (10 + t));
  const float take = static_cast<float>(1 - decay);
  for (size_t i = 0; i < live_.size(); ++i) {
    const float* w = live_[i].tensor.data();
    float* e = average_[i].tensor.data();
    parallel_for(live_[i].tensor.numel(), kGrain,
                 [&](Range r) { kernels::lerp(take, w + r.begin, e + r.begin, r.size()); });
  }
}

void Ema::swap() {
  for (size_t i = 0; i < live_.size(); ++i) {
    float *a = live_[i].tensor.data(), *b = average_[i].tensor.data();
    parallel_for(live_[i].tensor.numel(), kGrain,
                 [&](Range r) { std::swap_ranges(a + r.begin, a + r.end, b + r.begin); });
  }
}

void Ema::save(safetensors::File& file, const std::string& prefix) const {
  for (const auto& [name, tensor] : average_) file.entries[prefix + name] = to_entry(tensor);
  const int64_t n = updates_;
  file.entries[prefix + "num_updates"] =
      safetensors::Entry::of(std::span<const int64_t>(&n, 1), {1});
}

void Ema::load(const safetensors::File& file, const std::string& prefix) {
  KeyShapes wanted{{"num_updates", {1}}}, found;
  for (const auto& [name, tensor] : average_) wanted[name] = file_shape(tensor.shape());
  for (const auto& [name, entry] : file.entries) {
    if (name.rfind(prefix, 0) == 0) found[name.substr(prefix.size())] = entry.shape;
  }
  check_keys(wanted, found, "the saved averages do not fit this model",
             "resume with the model and the averaging that the run was started with");
  updates_ = file.at(prefix + "num_updates").integers()[0];
  for (auto& [name, tensor] : average_) tensor.copy_(from_entry(file.at(prefix + name)));
}

}  // namespace pare::nn
