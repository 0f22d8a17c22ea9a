#pragma once
// What this machine can do at most, measured now: the yardstick of every "% of peak".

namespace pare::kernels {

/// float32 FLOP/s of independent FMAs on all threads at once, with the vectors of the active ISA
/// (an FMA is two FLOP; the portable path multiplies and adds), measured for about `seconds` > 0.
/// On a machine with neighbours this changes from moment to moment: measure it beside the work.
double peak_flops(double seconds);

}  // namespace pare::kernels
