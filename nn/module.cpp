#include "nn/module.h"

#include <utility>

namespace pare::nn {

namespace {

/// A copied struct shares its tensors with the original: give each its own values.
class Unshare final : public Visitor {
  static void own(Tensor& t) {
    if (!t) return;
    const bool learned = t.requires_grad();
    t = t.clone();
    t.requires_grad_(learned);
  }
  void on_parameter(std::string_view, Tensor& t) override { own(t); }
  void on_buffer(std::string_view, Tensor& t) override { own(t); }
  void on_child(std::string_view, Layer&) override {}  // its own copy has done it
};

class Collect final : public PathVisitor {
 public:
  std::vector<NamedTensor> parameters, buffers;

 private:
  void on_parameter(std::string_view name, Tensor& t) override {
    if (t) parameters.push_back({join(name), t});
  }
  void on_buffer(std::string_view name, Tensor& t) override {
    if (t) buffers.push_back({join(name), t});
  }
};

class ForEachRng final : public PathVisitor {
 public:
  explicit ForEachRng(const std::function<void(const std::string&, Rng&)>& f) : f_(f) {}

 private:
  void on_rng(std::string_view name, Rng& rng) override { f_(join(name), rng); }
  const std::function<void(const std::string&, Rng&)>& f_;
};

class ForEachLayer final : public PathVisitor {
 public:
  explicit ForEachLayer(const std::function<void(const std::string&, Layer&)>& f) : f_(f) {}

 private:
  void enter(const std::string& path, Layer& child) override { f_(path, child); }
  const std::function<void(const std::string&, Layer&)>& f_;
};

thread_local ForwardObserver* innermost_observer = nullptr;

}  // namespace

void Visitor::on_child(std::string_view, Layer& child) { child.visit(*this); }

Layer& Layer::operator=(const Layer& other) {
  if (this == &other) return *this;
  copy_ = other.copy_;
  module_ = other.module_ ? copy_(*other.module_) : nullptr;
  if (module_) {
    Unshare unshare;
    module_->visit(unshare);
  }
  return *this;
}

Tensor Layer::operator()(const Tensor& x) const {
  if (!module_) return x;
  try {
    if (innermost_observer) [[unlikely]]
      ForwardObserver::notify_before(*module_);
    Tensor y = module_->forward(x);
    if (innermost_observer) [[unlikely]]
      ForwardObserver::notify(*module_, x, y);
    return y;
  } catch (Error& e) {
    if (!e.has_path() && !module_->path.empty()) e.add_path(module_->path);
    throw;
  }
}

ForwardObserver::ForwardObserver() : outer_(std::exchange(innermost_observer, this)) {}
ForwardObserver::~ForwardObserver() { innermost_observer = outer_; }

void ForwardObserver::notify_before(Module& module) {
  for (ForwardObserver* o = innermost_observer; o; o = o->outer_) o->before(module);
}

void ForwardObserver::notify(Module& module, const Tensor& x, const Tensor& y) {
  for (ForwardObserver* o = innermost_observer; o; o = o->outer_) o->after(module, x, y);
}

std::string PathVisitor::join(std::string_view name) const {
  return prefix_.empty() ? std::string(name) : prefix_ + "." + std::string(name);
}

void PathVisitor::on_child(std::string_view name, Layer& child) {
  if (!child) return;
  std::string outer = join(name);
  std::swap(prefix_, outer);
  enter(prefix_, child);
  child.visit(*this);
  std::swap(prefix_, outer);
}

std::vector<NamedTensor> parameters(const Layer& model) {
  Collect collect;
  collect.walk(model);
  return std::move(collect.parameters);
}

std::vector<NamedTensor> buffers(const Layer& model) {
  Collect collect;
  collect.walk(model);
  return std::move(collect.buffers);
}

void for_each_layer(Layer& root, const std::function<void(const std::string&, Layer&)>& f) {
  if (!root) return;
  f("", root);
  ForEachLayer(f).walk(root);
}

void for_each_rng(const Layer& root, const std::function<void(const std::string&, Rng&)>& f) {
  ForEachRng(f).walk(root);
}

void set_training(Layer& model, bool training) {
  for_each_layer(model, [&](const std::string&, Layer& layer) { layer->training = training; });
}

EvalMode::EvalMode(Layer& model) : model_(model) {
  for_each_layer(model, [&](const std::string&, Layer& layer) {
    if (layer->training) was_training_.insert(&*layer);
    layer->training = false;
  });
}

EvalMode::~EvalMode() {
  for_each_layer(model_, [&](const std::string&, Layer& layer) {
    if (was_training_.count(&*layer) > 0) layer->training = true;
  });
}

void assign_paths(Layer& model) {
  for_each_layer(model, [](const std::string& path, Layer& layer) { layer->path = path; });
}

void set_requires_grad(Layer& model, bool wanted) {
  for (NamedTensor& p : parameters(model)) p.tensor.requires_grad_(wanted);
}

}  // namespace pare::nn
