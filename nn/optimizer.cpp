#include "core/autograd.h"
#include "nn/optim.h"
#include "nn/weight_entries.h"

namespace pare::nn {

using safetensors::Entry;

std::vector<ParamGroup> param_groups(const Layer& model, float weight_decay,
                                     bool decay_norm_and_bias) {
  ParamGroup decayed{.params = {}, .weight_decay = weight_decay}, plain;
  for (NamedTensor& p : parameters(model)) {
    const bool decay = decay_norm_and_bias || p.tensor.dims() > 1;
    (decay ? decayed : plain).params.push_back(std::move(p));
  }
  std::vector<ParamGroup> groups;
  for (ParamGroup* g : {&decayed, &plain}) {
    if (!g->params.empty()) groups.push_back(std::move(*g));
  }
  return groups;
}

Optimizer::Optimizer(std::vector<ParamGroup> groups, std::vector<std::string> slots, float lr)
    : groups_(std::move(groups)), slot_names_(std::move(slots)), lr_(lr) {
  PARE_CHECK(lr >= 0, "optimizer: the learning rate must not be negative, got ", lr);
  for (const ParamGroup& g : groups_) {
    PARE_CHECK(g.weight_decay >= 0, "optimizer: weight decay must not be negative, got ",
               g.weight_decay);
    for (const auto& [name, tensor] : g.params) {
      PARE_CHECK(tensor && tensor.is_leaf(), "optimizer: '", name, "' is not a parameter");
      const auto [it, added] = state_.try_emplace(name);
      PARE_CHECK(added, "optimizer: two parameters are named '", name, "'");
      for (size_t i = 0; i < slot_names_.size(); ++i) {
        it->second.slots.push_back(Tensor::zeros(tensor.shape()));
      }
    }
  }
  PARE_CHECK(!state_.empty(), "optimizer: there are no parameters to update");
}

void Optimizer::step() {
  NoGrad guard;
  for (ParamGroup& g : groups_) {
    for (auto& [name, p] : g.params) {
      if (!p.grad()) continue;
      State& state = state_.at(name);
      update(p, p.grad(), state.slots, lr_ * g.lr_scale, g, ++state.step);
    }
  }
  ++steps_;
}

void Optimizer::zero_grad() {
  for (ParamGroup& g : groups_) {
    for (NamedTensor& p : g.params) p.tensor.zero_grad();
  }
}

namespace {

Entry count_entry(int64_t n) { return Entry::of(std::span<const int64_t>(&n, 1), {1}); }

}  // namespace

void Optimizer::save(safetensors::File& file, const std::string& prefix) const {
  file.entries[prefix + "steps"] = count_entry(steps_);
  for (const auto& [name, state] : state_) {
    file.entries[prefix + "step." + name] = count_entry(state.step);
    for (size_t i = 0; i < slot_names_.size(); ++i) {
      file.entries[prefix + slot_names_[i] + "." + name] = Entry::of(state.slots[i]);
    }
  }
}

void Optimizer::load(const safetensors::File& file, const std::string& prefix) {
  KeyShapes wanted{{"steps", {1}}}, found;
  for (const auto& [name, state] : state_) {
    wanted["step." + name] = {1};
    for (size_t i = 0; i < slot_names_.size(); ++i) {
      const Shape& shape = state.slots[i].shape();
      wanted[slot_names_[i] + "." + name] = {shape.begin(), shape.end()};
    }
  }
  for (const auto& [name, entry] : file.entries) {
    if (name.rfind(prefix, 0) == 0) found[name.substr(prefix.size())] = entry.shape;
  }
  check_keys(wanted, found, "the saved optimizer state does not fit this optimizer",
             "resume with the model and the optimizer that the run was started with");

  const auto integer = [&](const std::string& name) {
    return file.at(prefix + name).integers()[0];
  };
  std::map<std::string, State> loaded;
  for (const auto& [name, state] : state_) {
    State& s = loaded[name];
    s.step = integer("step." + name);
    for (const std::string& slot : slot_names_) {
      s.slots.push_back(file.at(prefix + slot + "." + name).tensor());
    }
  }
  steps_ = integer("steps");
  state_ = std::move(loaded);
}

}  // namespace pare::nn
