#include "apps/memory.h"

#include <sys/resource.h>

namespace pare {

int64_t peak_rss_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;  // Linux counts it in kB
}

}  // namespace pare
