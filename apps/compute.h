#pragma once
// How a program computes: the flags that every program which runs a network has.

#include <string>

#include "apps/common_fields.h"
#include "core/parallel.h"
#include "core/precision.h"
#include "core/winograd.h"
#include "deploy/runtime/winograd.h"

namespace pare {

struct ComputeArgs {
  int64_t threads = 0;
  std::string winograd = winograd_use_name(winograd_use());
  std::string precision = precision_name(pare::precision());

  void fields(cli::Fields& f) {
    fields_but_precision(f);
    f(precision, "precision",
      "operands of convolutions and matrix products: fp32, or bf16 (rounded to bfloat16, summed up "
      "in float32; faster where the CPU has VDPBF16PS, slower elsewhere); the forward pass of "
      "layers with quantizers stays fp32",
      {.one_of = {"fp32", "bf16"}, .placeholder = "NAME"});
  }
  /// For programs to which --precision means something else.
  void fields_but_precision(cli::Fields& f) {
    cli::threads_field(f, threads);
    f(winograd, "winograd",
      "Winograd's algorithm for 3x3 and 5x5 convolutions, but for the forward pass of layers with "
      "quantizers: auto (where it was measured to be faster), off or always",
      {.one_of = {"auto", "off", "always"}, .placeholder = "NAME"});
  }
  void apply() const {
    set_num_threads(static_cast<int>(threads));
    set_winograd_use(parse_winograd_use(winograd));
    runtime::enable_winograd(winograd_use() != WinogradUse::off);
    set_precision(parse_precision(precision));
  }
};

}  // namespace pare
