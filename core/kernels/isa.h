#pragma once
// Which instruction sets the running CPU has, and which one the kernels use. One binary holds them
// all.

#include <string>
#include <string_view>
#include <vector>

namespace pare {

enum class Isa { portable, avx2, avx512 };

const char* isa_name(Isa isa);
/// What this CPU can run, worst first; always starts with portable.
std::vector<Isa> supported_isas();
/// What the kernels use: the best supported one, unless the environment variable PARE_ISA or
/// force_isa() says otherwise. An unknown or unsupported PARE_ISA throws on first use.
Isa active_isa();
void force_isa(Isa isa);
Isa parse_isa(std::string_view name);

/// VDPBF16PS; implies AVX-512.
bool cpu_has_avx512_bf16();
/// VPDPBUSD; implies AVX-512.
bool cpu_has_avx512_vnni();

}  // namespace pare
