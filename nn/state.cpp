#include "nn/state.h"

#include <algorithm>

#include "nn/weight_entries.h"

namespace pare::nn {

namespace {

bool starts_with(const std::string& text, const std::string& start) {
  return text.rfind(start, 0) == 0;
}

/// Entries of a checkpoint that are not weights.
bool reserved(const std::string& name) {
  return starts_with(name, "optim.") || starts_with(name, "ema.") || starts_with(name, "train.");
}

/// Counters that PyTorch's batch norm and Ema keep beside the weights.
bool counter(const std::string& name) {
  constexpr std::string_view kPyTorch = "num_batches_tracked";
  if (name == "num_updates" || name == kPyTorch) return true;
  return name.size() > kPyTorch.size() && name.ends_with(kPyTorch) &&
         name[name.size() - kPyTorch.size() - 1] == '.';
}

constexpr const char* kAdvice = "the weights must come from the same model with the same options";

using Entries = std::map<std::string, const safetensors::Entry*>;

/// The weights below `prefix` under the names of the model.
Entries select(const safetensors::File& file, const std::string& prefix) {
  Entries found;
  for (const auto& [name, entry] : file.entries) {
    if (!starts_with(name, prefix)) continue;
    const std::string key = name.substr(prefix.size());
    if (counter(key) || (prefix.empty() && reserved(key))) continue;
    found[key] = &entry;
  }
  // DataParallel puts "module." before every name.
  const std::string parallel = "module.";
  const bool wrapped =
      !found.empty() && std::all_of(found.begin(), found.end(),
                                    [&](const auto& e) { return starts_with(e.first, parallel); });
  if (!wrapped) return found;
  Entries plain;
  for (const auto& [name, entry] : found) plain[name.substr(parallel.size())] = entry;
  return plain;
}

}  // namespace

std::map<std::string, Tensor> state_dict(const Layer& model) {
  std::map<std::string, Tensor> state;
  for (const auto& list : {parameters(model), buffers(model)}) {
    for (const auto& [name, tensor] : list) state[name] = tensor;
  }
  return state;
}

void load_state_dict(Layer& model, const std::map<std::string, Tensor>& state) {
  std::map<std::string, Tensor> own = state_dict(model);
  KeyShapes wanted, found;
  for (const auto& [name, t] : own) wanted[name] = {t.shape().begin(), t.shape().end()};
  for (const auto& [name, t] : state) {
    if (t) found[name] = {t.shape().begin(), t.shape().end()};
  }
  check_keys(wanted, found, "the state dict does not fit the model", kAdvice);
  for (auto& [name, t] : own) t.copy_(state.at(name));
}

void put_weights(safetensors::File& file, const Layer& model, const std::string& prefix) {
  for (const auto& [name, tensor] : state_dict(model)) {
    file.entries[prefix + name] = to_entry(tensor);
  }
}

void get_weights(const safetensors::File& file, Layer& model, const std::string& source,
                 const std::string& prefix) {
  const Entries entries = select(file, prefix);
  std::map<std::string, Tensor> own = state_dict(model);
  KeyShapes wanted, found;
  for (const auto& [name, t] : own) wanted[name] = file_shape(t.shape());
  for (const auto& [name, e] : entries) {
    // Other programs store a single number without dimensions.
    found[name] = e->shape.empty() ? std::vector<int64_t>{1} : e->shape;
  }
  check_keys(wanted, found, source + ": does not fit the model", kAdvice);
  for (auto& [name, t] : own) t.copy_(from_entry(*entries.at(name)));
}

void save_weights(const std::string& path, const Layer& model,
                  const std::map<std::string, std::string>& metadata) {
  safetensors::File file;
  file.metadata = metadata;
  put_weights(file, model);
  safetensors::write(path, file);
}

void load_weights(const std::string& path, Layer& model) {
  get_weights(safetensors::read(path), model, path);
}

}  // namespace pare::nn
