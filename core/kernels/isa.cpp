#include "core/kernels/isa.h"

#include <atomic>
#include <cstdlib>

#include "core/error.h"
#include "core/kernels/highway.h"
#include "hwy/targets.h"

namespace pare {

namespace {

bool cpu_has(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::portable:
      return true;
    case Isa::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512cd");
  }
#endif
  return isa == Isa::portable;
}

/// Highway dispatches by its own table: leave it only the targets up to `isa`.
void tell_highway(Isa isa) {
#if defined(__x86_64__)
  uint64_t off = 0;
  if (isa < Isa::avx512) off |= HWY_AVX3 | HWY_AVX3_DL;
  if (isa < Isa::avx2) off |= HWY_AVX2;
  hwy::DisableTargets(static_cast<uint32_t>(off));
#endif
}

Isa initial_isa() {
  const char* forced = std::getenv("PARE_ISA");
  const Isa isa = forced && *forced ? parse_isa(forced) : supported_isas().back();
  PARE_CHECK(cpu_has(isa), "PARE_ISA: this CPU has no ", isa_name(isa), ", its best is ",
             isa_name(supported_isas().back()));
  tell_highway(isa);
  return isa;
}

std::atomic<Isa>& current() {
  static std::atomic<Isa> isa{initial_isa()};
  return isa;
}

}  // namespace

bool cpu_has_avx512_bf16() {
#if defined(__x86_64__)
  static const bool has = cpu_has(Isa::avx512) && __builtin_cpu_supports("avx512bf16");
  return has;
#else
  return false;
#endif
}

bool cpu_has_avx512_vnni() {
#if defined(__x86_64__)
  static const bool has = cpu_has(Isa::avx512) && __builtin_cpu_supports("avx512vnni");
  return has;
#else
  return false;
#endif
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::avx512:
      return "avx512";
    case Isa::avx2:
      return "avx2";
    case Isa::portable:
      break;
  }
  return "portable";
}

std::vector<Isa> supported_isas() {
  std::vector<Isa> found;
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
    if (cpu_has(isa)) found.push_back(isa);
  }
  return found;
}

Isa active_isa() { return current().load(std::memory_order_relaxed); }

void force_isa(Isa isa) {
  PARE_CHECK(cpu_has(isa), "isa: this CPU has no ", isa_name(isa));
  current() = isa;
  tell_highway(isa);
}

Isa parse_isa(std::string_view name) {
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
    if (name == isa_name(isa)) return isa;
  }
  throw Error(str("isa: unknown name '", name, "', expected portable, avx2 or avx512"),
              "parse_isa");
}

}  // namespace pare
