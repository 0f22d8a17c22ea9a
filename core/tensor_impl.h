#pragma once
// What a Tensor handle points to. Private to core: tensor.cpp and autograd.cpp.

#include <memory>

#include "core/alloc.h"
#include "core/autograd.h"
#include "core/deferred.h"
#include "core/grid.h"
#include "core/tensor.h"

namespace pare {

/// Values, shared by every view of them. `pending` is set until the first read computes them.
struct Tensor::Storage {
  Buffer buffer;
  std::shared_ptr<Deferred> pending;
  /// Results that are still to be computed from these values: before anybody changes them.
  std::vector<std::weak_ptr<Storage>> readers;
  std::shared_ptr<const IntegerGrid> grid;

  void compute(const BlockVisitor* visit = nullptr);
  /// Takes the work off, with memory to do it in.
  std::shared_ptr<Deferred> begin();
  void compute_readers();
  void add_reader(const std::shared_ptr<Storage>& reader);
};

struct Tensor::Impl {
  Shape shape;
  std::shared_ptr<Storage> storage;
  std::shared_ptr<Node> node;  // how it was computed; null for leaves
  Tensor grad;                 // of a leaf
  bool wants_grad = false;     // of a leaf
};

struct TapeAccess {
  using Storage = Tensor::Storage;
  static Tensor::Impl& of(const Tensor& t) { return *t.impl_; }
};

}  // namespace pare
