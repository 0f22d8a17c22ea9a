#include "apps/pare/fold.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/common_fields.h"
#include "apps/loaded_model.h"
#include "apps/pare/commands.h"
#include "apps/side_by_side.h"
#include "core/parallel.h"
#include "nn/describe.h"
#include "quant/fold_bn.h"

namespace pare {

void FoldArgs::fields(cli::Fields& f) {
  f.group("Weights");
  cli::weights_field(f, weights);
  f(out, "out", "where the folded checkpoint goes", {.placeholder = "FILE"});
  model.fields(f);
  data.fields(f, /*training=*/false);
  f.group("Run");
  cli::threads_field(f, threads);
  cli::output_fields(f, quiet, json);
}

namespace {

int64_t norms_in(const nn::Summary& s) {
  return std::count_if(s.rows.begin(), s.rows.end(), [](const nn::LayerRow& row) {
    return row.type.rfind("BatchNorm2d", 0) == 0;
  });
}

Json report_json(const quant::FoldReport& report) {
  Json rows = Json::array();
  for (const quant::FoldReport::Row& r : report.rows) {
    Json row{{"norm", r.norm}, {"channels", r.channels}};
    if (r.folded()) {
      row["into"] = r.into;
      row["rule"] = r.rule == quant::FoldRule::sign ? "sign" : "scale";
      row["negated"] = r.negated;
      row["constant"] = r.constant;
    } else {
      row["stays"] = r.stayed_because;
    }
    rows.push_back(row);
  }
  return rows;
}

}  // namespace

Json fold_model(FoldArgs& args, const cli::Given& given, Console& console) {
  PARE_CHECK(!args.weights.empty(), "--weights is needed: the trained model to fold");
  PARE_CHECK(!args.out.empty(), "--out is needed: where the folded checkpoint goes");
  set_num_threads(static_cast<int>(args.threads));
  LoadedModel loaded = load_model(args.model, args.data, given, args.weights);
  const Shape& image = loaded.card.image;

  nn::Layer folded = loaded.model;
  const quant::FoldReport report =
      quant::fold_bn(folded, Tensor::zeros({1, image[0], image[1], image[2]}));
  PARE_CHECK(report.folded() > 0, args.weights, ": no batch norm can be folded",
             hint(report.rows.empty() ? "the model has none that is active"
                                      : report.rows[0].norm + " " + report.rows[0].stayed_because));
  print_head("pare fold", loaded, args.weights, args.data, console);
  console.print("\n" + str(report));

  Side before{loaded.model}, after{folded};
  const Gap gap = compare(before, after, *test_batches(args.data, loaded.images), console);
  const nn::Summary was = nn::summarize(loaded.model, image), is = nn::summarize(folded, image);
  std::vector<std::vector<std::string>> rows = comparison(before, after, was, is);
  rows.insert(rows.begin() + 1,
              {"batch norms", format_count(norms_in(was)), format_count(norms_in(is))});
  console.print(align(rows));
  console.print("");
  console.entry(
      "outputs",
      fmt::format("differ by {:.2g} at most, of {:.3g}; the same class for {} of {} images",
                  gap.difference, gap.largest, gap.same_class, after.score.samples));
  save_changed(loaded, folded, args.data, loaded.metadata, args.out);
  console.entry("out", args.out);
  Json was_json = side_json(before, was), is_json = side_json(after, is);
  was_json["batch_norms"] = norms_in(was);
  is_json["batch_norms"] = norms_in(is);
  return {{"model", args.model.model},
          {"quant", loaded.card.quantized()},
          {"weights", args.weights},
          {"dataset", args.data.name()},
          {"images", after.score.samples},
          {"folded", report.folded()},
          {"before", was_json},
          {"after", is_json},
          {"max_difference", gap.difference},
          {"max_logit", gap.largest},
          {"same_class", gap.same_class},
          {"batch_norms", report_json(report)},
          {"out", args.out}};
}

int fold_command(int argc, char** argv) {
  FoldArgs args;
  const cli::Given given = cli::parse(
      args,
      {.name = "pare fold",
       .summary = "Folds batch norm into the layers before it, and compares both models.",
       .examples = "  pare fold --weights runs/float/best.safetensors --out folded.safetensors\n"
                   "  pare eval --weights folded.safetensors\n"},
      argc, argv);
  if (given.leave) return 0;
  Console console({.json = args.json, .quiet = args.quiet});
  console.result(fold_model(args, given, console));
  return 0;
}

}  // namespace pare
