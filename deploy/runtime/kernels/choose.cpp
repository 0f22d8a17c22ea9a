#include <atomic>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "deploy/runtime/kernels/tile.h"

namespace pare::runtime::kernels {

namespace {

#if defined(__x86_64__)
const Kernels& avx512_with_popcount() {
  static const Kernels kernels = [] {
    Kernels k = kAvx512;
    k.name = "avx512+popcnt", k.signs = signs_by_popcount, k.likes_tables = false;
    return k;
  }();
  return kernels;
}
#endif

std::vector<const Kernels*> found() {
  std::vector<const Kernels*> all = {&kPortable};
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vnni");
  if (avx2) all.push_back(&kAvx2);
  if (avx512) all.push_back(&kAvx512);
  if (avx512 && __builtin_cpu_supports("avx512vpopcntdq")) all.push_back(&avx512_with_popcount());
#endif
  return all;
}

const std::vector<const Kernels*>& all_found() {
  static const std::vector<const Kernels*> all = found();
  return all;
}

/// The best whose name starts so: "avx512" is "avx512+popcnt" where there is that.
const Kernels& by_name(std::string_view name) {
  const Kernels* best = nullptr;
  for (const Kernels* k : all_found()) {
    const std::string_view full = k->name;
    if (full.substr(0, full.find('+')) == name) best = k;
  }
  const bool known = name == "portable" || name == "avx2" || name == "avx512";
  PARE_CHECK(known, "PARE_ISA: unknown name '", name, "', expected portable, avx2 or avx512");
  // Without VNNI there are no AVX-512 kernels of ours, and AVX2 is what runs.
  if (!best && name == "avx512" && __builtin_cpu_supports("avx512f")) best = all_found().back();
  PARE_CHECK(best, "PARE_ISA: this CPU has no ", name, ", its best is ", all_found().back()->name);
  return *best;
}

std::atomic<const Kernels*> forced{nullptr};

}  // namespace

const Kernels& active() {
  if (const Kernels* k = forced.load(std::memory_order_relaxed)) return *k;
  static const Kernels& usual = [&]() -> const Kernels& {
    const char* name = std::getenv("PARE_ISA");
    return name && *name ? by_name(name) : *all_found().back();
  }();
  return usual;
}

const Kernels* const* supported(int* count) {
  *count = static_cast<int>(all_found().size());
  return all_found().data();
}

void force(const Kernels* kernels) { forced = kernels; }

}  // namespace pare::runtime::kernels
