#pragma once
// Which algorithm a gather pass runs with. Private to core/ops.

#include <optional>
#include <vector>

#include "core/kernels/winograd.h"
#include "core/ops/conv_gather.h"

namespace pare {

/// Winograd kinds that can compute the pass; with bf16, behind them, those that round to bfloat16.
std::vector<kernels::WinogradKind> winograd_kinds(const GatherPass& pass, bool bf16 = false);
/// The kind to use, or none for the direct sum; with bf16 either may round its operands to
/// bfloat16. See core/winograd.h.
std::optional<kernels::WinogradKind> chosen_kind(const GatherPass& pass, bool bf16);
/// Likewise for the weight gradient of a convolution, of the precision of core/precision.h.
std::optional<kernels::WinogradKind> chosen_weight_kind(const kernels::ConvShape& s);

}  // namespace pare
