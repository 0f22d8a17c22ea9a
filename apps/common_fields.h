#pragma once
// Flags that most programs have, worded alike.

#include <string>

#include "apps/cli.h"

namespace pare::cli {

inline void weights_field(Fields& f, std::string& weights) {
  f(weights, "weights", "trained checkpoint, or weights under the names PyTorch uses",
    {.placeholder = "FILE"});
}

inline void threads_field(Fields& f, int64_t& threads) {
  f(threads, "threads", "threads; 0: one per processor", {.min = 0, .max = 1024});
}

inline void output_fields(Fields& f, bool& quiet, bool& json) {
  f(quiet, "quiet", "print nothing but errors and the JSON result");
  f(json, "json", "the last line on stdout is the result as JSON; all else goes to stderr");
}

}  // namespace pare::cli
