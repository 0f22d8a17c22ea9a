#pragma once
// Cutting a number of things into parts that are as equal as can be.

#include <cstdint>

namespace pare::runtime {

/// The size of the next part of `left`, so that none ends up alone.
inline int64_t even_share(int64_t left, int64_t most) {
  const int64_t shares = (left + most - 1) / most;
  return (left + shares - 1) / shares;
}

/// f(first, count) for parts of [begin, end), none larger than `most`.
template <class F>
void for_shares(int64_t begin, int64_t end, int64_t most, F&& f) {
  for (int64_t i = begin, count; i < end; i += count) {
    count = even_share(end - i, most);
    f(i, count);
  }
}

}  // namespace pare::runtime
