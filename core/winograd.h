#pragma once
// When convolutions may use Winograd's algorithm (core/kernels/winograd.h) instead of the direct
// sum: fewer products, another rounding. Where it applies, `automatic` measures both once per layer
// shape and instruction set and remembers the faster one, in the process and in the file
// $XDG_CACHE_HOME/pare/convolutions.json (or ~/.cache/pare/...), so that later runs give the same
// bits. The forward pass of a layer with quantizers always takes the direct sum, see ConvOptions.

#include <string_view>

namespace pare {

enum class WinogradUse { off, automatic, always };

/// The environment variable PARE_WINOGRAD (off, auto, always), default auto, unless set here.
WinogradUse winograd_use();
void set_winograd_use(WinogradUse use);

const char* winograd_use_name(WinogradUse use);
WinogradUse parse_winograd_use(std::string_view name);

}  // namespace pare
