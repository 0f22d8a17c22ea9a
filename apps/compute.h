#pragma once
// How a program computes: the flags that every program which runs a network has.

#include <string>

#include "apps/cli.h"
#include "core/parallel.h"
#include "core/winograd.h"

namespace pare {

struct ComputeArgs {
  int64_t threads = 0;
  std::string winograd = winograd_use_name(winograd_use());

  void fields(cli::Fields& f) {
    f(threads, "threads", "threads; 0: one per processor", {.min = 0, .max = 1024});
    f(winograd, "winograd",
      "Winograd's algorithm for 3x3 and 5x5 convolutions without quantizers: auto (where it was "
      "measured to be faster), off or always",
      {.one_of = {"auto", "off", "always"}, .placeholder = "NAME"});
  }
  void apply() const {
    set_num_threads(static_cast<int>(threads));
    set_winograd_use(parse_winograd_use(winograd));
  }
};

}  // namespace pare
