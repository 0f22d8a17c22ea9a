#pragma once
// Which numbers convolutions and matrix products multiply. Everything else, the master weights and
// all sums are float32 in any case.
//
//   fp32   float32
//   bf16   both operands rounded to bfloat16 (8 significant bits, to nearest, ties to even) as they
//          are packed, products summed up in float32. With VDPBF16PS where the CPU has it;
//          elsewhere the same numbers by float32 instructions, which is slower. Winograd's algorithm
//          (core/winograd.h) rounds its transformed operands, or nothing, whichever was measured to
//          be faster. Convolutions with few products of each operand, depthwise ones among them,
//          groups of an odd number of channels and the forward pass of layers with quantizers
//          (ConvOptions::exact) stay float32.
//
// Kalamkar et al., A Study of BFLOAT16 for Deep Learning Training, 2019.

#include <string_view>

namespace pare {

enum class Precision { fp32, bf16 };

/// fp32 unless set. Passes look when they are called, a backward pass when it runs.
Precision precision();
void set_precision(Precision value);

const char* precision_name(Precision value);
Precision parse_precision(std::string_view name);

}  // namespace pare
