#pragma once
// What this machine can do at most, measured now: the yardstick of every "% of peak".

namespace pare::kernels {

/// float32 FLOP/s of independent FMAs on all threads at once, with the vectors of the active ISA
/// (an FMA is two FLOP; the portable path multiplies and adds). The best of several short runs;
/// measured once per ISA and thread count, then remembered.
double peak_flops();

}  // namespace pare::kernels
