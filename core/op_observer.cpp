#include "core/op_observer.h"

#include <utility>

namespace pare {

namespace {

thread_local OpObserver* innermost = nullptr;

}  // namespace

OpObserver::OpObserver() : outer_(std::exchange(innermost, this)) {}
OpObserver::~OpObserver() { innermost = outer_; }

bool OpObserver::any() { return innermost != nullptr; }

void OpObserver::notify(const OpCall& call) {
  for (OpObserver* o = innermost; o; o = o->outer_) o->after(call);
}

}  // namespace pare
