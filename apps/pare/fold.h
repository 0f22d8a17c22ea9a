#pragma once
// `pare fold`, from its options to its result.

#include <string>

#include "apps/console.h"
#include "apps/data.h"
#include "apps/json.h"
#include "apps/model.h"

namespace pare {

struct FoldArgs {
  ModelArgs model;
  DataArgs data;
  std::string weights, out;
  int64_t threads = 0;
  bool quiet = false, json = false;

  void fields(cli::Fields& f);
};

/// Folds, compares, writes --out, and returns what `--json` prints.
Json fold_model(FoldArgs& args, const cli::Given& given, Console& console);

}  // namespace pare
