#pragma once
// Modules: a tree of named fields. visit() names each field once; parameters, state dicts, copies,
// training mode, descriptions and optimizer groups are all visitors over it.

#include <concepts>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/tensor.h"

namespace pare::nn {

class Layer;

/// Called with every field of a module. Override what you care about.
class Visitor {
 public:
  virtual ~Visitor() = default;

  Visitor& operator()(std::string_view name, Tensor& parameter) {
    return on_parameter(name, parameter), *this;
  }
  Visitor& operator()(std::string_view name, Layer& child) { return on_child(name, child), *this; }
  Visitor& operator()(std::string_view name, Rng& rng) { return on_rng(name, rng), *this; }
  /// State that is saved but not learned: running statistics.
  Visitor& buffer(std::string_view name, Tensor& t) { return on_buffer(name, t), *this; }

 protected:
  virtual void on_parameter(std::string_view, Tensor&) {}
  virtual void on_buffer(std::string_view, Tensor&) {}
  virtual void on_rng(std::string_view, Rng&) {}
  /// The default walks on into the child.
  virtual void on_child(std::string_view name, Layer& child);
};

struct Module {
  virtual ~Module() = default;
  virtual Tensor forward(const Tensor& x) = 0;
  virtual void visit(Visitor&) {}
  /// One word and its options, for tables: "Conv2d(3, 192, kernel=5, pad=2)".
  virtual std::string describe() const = 0;

  bool training = true;
  std::string path;  // "layer1.0.conv1", set by nn::assign_paths; part of error messages
};

/// A module, owned, as a value. Copying clones the weights, an empty one is the identity, assigning
/// is how a rewrite replaces a layer. Any struct derived from Module converts to it.
class Layer {
 public:
  Layer() = default;
  template <std::derived_from<Module> M>
  Layer(M module)  // NOLINT: implicit on purpose
      : module_(std::make_unique<M>(std::move(module))),
        copy_([](const Module& m) -> std::unique_ptr<Module> {
          return std::make_unique<M>(static_cast<const M&>(m));
        }) {}
  Layer(const Layer& other) { *this = other; }
  Layer& operator=(const Layer& other);
  Layer(Layer&&) noexcept = default;
  Layer& operator=(Layer&&) noexcept = default;

  explicit operator bool() const { return module_ != nullptr; }
  Module* operator->() const { return module_.get(); }
  Module& operator*() const { return *module_; }
  /// The module if it is an M, else null.
  template <class M>
  M* as() const {
    return dynamic_cast<M*>(module_.get());
  }

  /// forward(x); an error on the way gets the module's path.
  Tensor operator()(const Tensor& x) const;
  void visit(Visitor& v) const {
    if (module_) module_->visit(v);
  }

 private:
  std::unique_ptr<Module> module_;
  std::unique_ptr<Module> (*copy_)(const Module&) = nullptr;
};

/// While one lives, it is told of every Layer call on its thread, inner ones first: summaries,
/// tracing and calibration look at a model this way. Several may be nested; each of them is told.
class ForwardObserver {
 public:
  ForwardObserver();
  virtual ~ForwardObserver();
  ForwardObserver(const ForwardObserver&) = delete;
  ForwardObserver& operator=(const ForwardObserver&) = delete;

  /// y = module(x) is about to be computed.
  virtual void before(Module& /*module*/) {}
  /// y = module(x) has just been computed.
  virtual void after(Module& module, const Tensor& x, const Tensor& y) = 0;

 private:
  friend class Layer;
  static void notify_before(Module& module);
  static void notify(Module& module, const Tensor& x, const Tensor& y);
  ForwardObserver* outer_;
};

/// Walks a tree and hands every field over with its dotted path.
class PathVisitor : public Visitor {
 public:
  void walk(const Layer& root) { root.visit(*this); }

 protected:
  /// "layer1.0.conv1" + "weight" -> "layer1.0.conv1.weight"
  std::string join(std::string_view name) const;
  virtual void enter(const std::string& /*path*/, Layer& /*child*/) {}
  void on_child(std::string_view name, Layer& child) override;

  std::string prefix_;
};

struct NamedTensor {
  std::string name;
  Tensor tensor;  // shares the module's values
};

/// Learned tensors with their paths, in visiting order.
std::vector<NamedTensor> parameters(const Layer& model);
std::vector<NamedTensor> buffers(const Layer& model);
/// Calls f(path, layer) for every non-empty layer below (and including, with path "") the root,
/// parents first. Assigning to the layer replaces it; its new fields are then walked.
void for_each_layer(Layer& root,
                    const std::function<void(const std::string& path, Layer& layer)>& f);
void for_each_rng(const Layer& root,
                  const std::function<void(const std::string& path, Rng& rng)>& f);
/// Switches batch norm, dropout and quantizers between batch and running behaviour.
void set_training(Layer& model, bool training);
/// Eval mode while it lives; then every module that is still there has the flag it had before.
class EvalMode {
 public:
  explicit EvalMode(Layer& model);
  ~EvalMode();
  EvalMode(const EvalMode&) = delete;
  EvalMode& operator=(const EvalMode&) = delete;

 private:
  Layer& model_;
  std::set<const Module*> was_training_;
};
/// Tells every module its path, so that errors can name it.
void assign_paths(Layer& model);
/// requires_grad of every parameter below.
void set_requires_grad(Layer& model, bool wanted);

}  // namespace pare::nn
