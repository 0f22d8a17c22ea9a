#include "core/ops/change_blocks.h"

#include <cstring>
#include <memory>

namespace pare {

namespace {

struct Changed final : Deferred {
  Tensor from;  // keeps its pending work, or has its values if that work's own sources changed
  std::function<void(const Block&)> change;

  int64_t blocks() const override { return pending_blocks(from); }
  void run(float* y, BlockVisitor visit) const override {
    from.pending()->run(y, [&](const Block& b) {
      change(b);
      visit(b);
    });
  }
  void run(float* y) const override {
    if (blocks() > 0) return run(y, [](const Block&) {});
    std::memcpy(y, from.data(), static_cast<size_t>(from.numel()) * sizeof(float));
    change({0, 0, from.numel() / from.dim(-1), y});
  }
};

}  // namespace

Tensor change_blocks(const Tensor& from, const std::vector<Tensor>& reads,
                     std::function<void(const Block&)> change) {
  const auto work = std::make_shared<Changed>();
  work->from = from.detach();
  work->change = std::move(change);
  for (const Tensor& t : reads) {
    if (t) t.data();  // not in the parallel region
  }
  std::vector<Tensor> sources = reads;
  sources.push_back(from);
  return Tensor::deferred(from.shape(), work, sources);
}

}  // namespace pare
