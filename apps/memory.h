#pragma once
#include <cstdint>

namespace pare {

/// The most memory this process has held in RAM so far.
int64_t peak_rss_bytes();

}  // namespace pare
