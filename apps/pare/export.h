#pragma once
// `pare export`, from its options to its result.

#include <string>

#include "apps/console.h"
#include "apps/data.h"
#include "apps/json.h"
#include "apps/model.h"

namespace pare {

struct ExportArgs {
  ModelArgs model;
  DataArgs data;
  std::string weights, to = "onnx", out;
  int64_t opset = 13, calib = 16, threads = 0;
  bool keep_bn = false, symmetric = false, exact = false, int4 = false, test = false;
  bool quiet = false, json = false;

  void fields(cli::Fields& f);
  void check(const cli::Given& given) const;
  /// "onnx" or "pare": how the file's name ends, usually.
  std::string ending() const { return to == "pare" ? "pare" : "onnx"; }
};

/// Writes --out, tests it with --test, and returns what `--json` prints.
Json export_model(ExportArgs& args, const cli::Given& given, Console& console);

/// What was exported, as a model that computes what the file says: one from ONNX, or the runtime
/// with a program.
nn::Layer load_exported(const std::string& file);

}  // namespace pare
