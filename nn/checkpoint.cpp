#include "nn/checkpoint.h"

#include <array>
#include <bit>
#include <cstdlib>

#include "nn/state.h"

namespace pare::nn {

namespace {

constexpr const char* kState = "train.state";
constexpr const char* kRng = "train.rng.";
constexpr const char* kBeside = "train.beside.";

/// Every field in a fixed order; doubles by their bits. Seconds differ between two equal runs and
/// live in the metadata, so that the entries of equal runs are equal.
template <class F>
void visit(TrainState& s, F&& f) {
  f(s.epoch), f(s.batch), f(s.step), f(s.best_epoch), f(s.best_top1), f(s.batches);
  for (Score* score : {&s.train, &s.test}) {
    f(score->samples), f(score->hits1), f(score->hits5), f(score->loss_sum);
  }
}

safetensors::Entry to_entry(TrainState state) {
  std::vector<int64_t> values;
  visit(state, [&](auto& field) { values.push_back(std::bit_cast<int64_t>(field)); });
  return safetensors::Entry::of(values, {static_cast<int64_t>(values.size())});
}

TrainState to_state(const std::vector<int64_t>& values, const std::string& path) {
  TrainState state;
  size_t count = 0;
  visit(state, [&](auto&) { ++count; });
  PARE_CHECK(values.size() == count, path, ": ", kState, " has ", values.size(),
             " numbers, expected ", count, hint("it was written by another version"));
  size_t i = 0;
  visit(state, [&](auto& field) {
    field = std::bit_cast<std::remove_reference_t<decltype(field)>>(values[i++]);
  });
  return state;
}

double seconds_of(const Metadata& metadata, const std::string& key) {
  const auto it = metadata.find(key);
  return it == metadata.end() ? 0.0 : std::strtod(it->second.c_str(), nullptr);
}

bool training_only(const std::string& name) {
  for (const char* prefix : {"optim.", "ema.", "train."}) {
    if (name.rfind(prefix, 0) == 0) return true;
  }
  return false;
}

}  // namespace

void save_checkpoint(const std::string& path, const Layer& model, const Optimizer& optimizer,
                     const Ema* ema, const TrainState& state, const Metadata& metadata,
                     const Layer* beside) {
  safetensors::File file;
  file.metadata = metadata;
  file.metadata["seconds"] = std::to_string(state.seconds);
  file.metadata["epoch_seconds"] = std::to_string(state.epoch_seconds);
  put_weights(file, model);
  optimizer.save(file, "optim.");
  if (ema) ema->save(file, "ema.");
  if (beside) put_weights(file, *beside, kBeside);
  file.entries[kState] = to_entry(state);
  for_each_rng(model, [&](const std::string& name, Rng& rng) {
    const Rng::State s = rng.state();
    const std::array<int64_t, 2> values{std::bit_cast<int64_t>(s.key),
                                        std::bit_cast<int64_t>(s.counter)};
    file.entries[kRng + name] = safetensors::Entry::of(values, {2});
  });
  safetensors::write(path, file);
}

TrainState load_checkpoint(const std::string& path, Layer& model, Optimizer& optimizer, Ema* ema,
                           Layer* beside) {
  const safetensors::File file = safetensors::read(path);
  PARE_CHECK(file.has(kState), path, ": holds weights only, there is no run to resume in it",
             hint("a run is resumed from its last.safetensors"));
  get_weights(weights_only(file), model, path);
  optimizer.load(file, "optim.");
  if (ema) ema->load(file, "ema.");
  if (beside) get_weights(file, *beside, path, kBeside);
  for_each_rng(model, [&](const std::string& name, Rng& rng) {
    const std::vector<int64_t> values = file.at(kRng + name).integers();
    PARE_CHECK(values.size() == 2, path, ": ", kRng, name, " has ", values.size(),
               " numbers, expected 2");
    rng.set_state({std::bit_cast<uint64_t>(values[0]), std::bit_cast<uint64_t>(values[1])});
  });
  TrainState state = to_state(file.at(kState).integers(), path);
  state.seconds = seconds_of(file.metadata, "seconds");
  state.epoch_seconds = seconds_of(file.metadata, "epoch_seconds");
  return state;
}

safetensors::File weights_only(safetensors::File file) {
  std::erase_if(file.entries, [](const auto& entry) { return training_only(entry.first); });
  return file;
}

}  // namespace pare::nn
