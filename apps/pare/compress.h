#pragma once
// `pare compress`, from its options to its result.

#include <string>

#include "apps/compute.h"
#include "apps/console.h"
#include "apps/data.h"
#include "apps/json.h"
#include "apps/model.h"

namespace pare {

struct CompressArgs {
  ModelArgs model;
  DataArgs data;
  ComputeArgs compute;
  std::string weights, out;
  float sparsity = 0, lr = 1e-4f;
  int64_t conv_bits = 8, linear_bits = 5, epochs = 0, batch_size = 128, seed = 1;
  bool quiet = false, json = false;

  void fields(cli::Fields& f);
  void check(const cli::Given& given) const;
};

/// Packs, compares, writes --out, and returns what `--json` prints.
Json compress_model(CompressArgs& args, const cli::Given& given, Console& console);

}  // namespace pare
