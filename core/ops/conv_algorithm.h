#pragma once
// Which algorithm a gather pass runs with. Private to core/ops.

#include <optional>
#include <vector>

#include "core/kernels/winograd.h"
#include "core/ops/conv_gather.h"

namespace pare {

/// Winograd kinds that can compute the pass.
std::vector<kernels::WinogradKind> winograd_kinds(const GatherPass& pass);
/// The kind to use, or none for the direct sum, of bfloat16 operands or of float32; see
/// core/winograd.h.
std::optional<kernels::WinogradKind> chosen_kind(const GatherPass& pass, bool bf16);
/// Likewise for the weight gradient of a convolution, whose direct sum is of core/precision.h.
std::optional<kernels::WinogradKind> chosen_weight_kind(const kernels::ConvShape& s);

}  // namespace pare
