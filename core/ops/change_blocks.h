#pragma once
// A step after work that is still pending, taken on each block while it is in cache. Private to
// core/ops.

#include <functional>
#include <vector>

#include "core/deferred.h"

namespace pare {

/// `from`, pending in blocks, with every block changed in place by `change`, which may be called
/// from several threads at once. Not computed yet either, and pending in the same blocks. `reads`:
/// what `change` looks at beside the block; it is computed now.
Tensor change_blocks(const Tensor& from, const std::vector<Tensor>& reads,
                     std::function<void(const Block&)> change);

}  // namespace pare
