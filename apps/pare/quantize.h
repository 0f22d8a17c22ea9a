#pragma once
// `pare quantize`, from its options to its result.

#include <string>

#include "apps/compute.h"
#include "apps/console.h"
#include "apps/data.h"
#include "apps/json.h"
#include "apps/model.h"

namespace pare {

struct QuantizeArgs {
  ModelArgs model;
  DataArgs data;
  ComputeArgs compute;
  std::string weights, config, quant, out;
  int64_t calib = 256, calib_batch_size = 64, iterations = 1000, seed = 1;
  bool fuse_bn = false, bn_tuning = false, sums = false, equalize = false, correct_bias = false;
  bool profile = false, plan = false, force = false, quiet = false, json = false;

  void fields(cli::Fields& f);
  /// Combinations that no single flag can check.
  void check(const cli::Given& given) const;
};

/// Quantizes, compares, writes --out, and returns what `--json` prints.
Json quantize_model(QuantizeArgs& args, const cli::Given& given, Console& console);

}  // namespace pare
