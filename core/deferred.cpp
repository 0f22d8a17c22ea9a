#include "core/deferred.h"

#include "core/error.h"

namespace pare {

void Deferred::run(float*, BlockVisitor) const {
  PARE_CHECK(false, "deferred: this work is not done in blocks");
}

void Deferred::run_rows(float*, int64_t, int64_t) const {
  PARE_CHECK(false, "deferred: this work is not done row by row");
}

kernels::Source source_of(const Tensor& t) {
  if (const auto& work = t.pending()) {
    if (const auto source = work->source()) return *source;
  }
  return {t.data()};
}

int64_t pending_blocks(const Tensor& t) {
  const auto& work = t.pending();
  return work ? work->blocks() : 0;
}

}  // namespace pare
