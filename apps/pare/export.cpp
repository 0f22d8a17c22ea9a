#include "deploy/onnx/export.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "apps/common_fields.h"
#include "apps/loaded_model.h"
#include "apps/pare/commands.h"
#include "apps/pare/export.h"
#include "apps/pare/lowered.h"
#include "apps/side_by_side.h"
#include "core/files.h"
#include "core/parallel.h"
#include "deploy/runtime/file.h"

namespace pare {

namespace {

/// What an export tells the user.
struct Outcome {
  int64_t bytes = 0;
  std::vector<std::pair<std::string, std::string>> entries = {};  // label, text
  Json json = {};
};

/// A kind of file that can be written.
struct Target {
  const char *name, *summary;
  Outcome (*write)(const ExportArgs& args, LoadedModel& loaded);
};

/// [n, H, W, C], the first training images; zeros where their values do not matter.
Tensor example_images(const ExportArgs& args, const LoadedModel& loaded) {
  const Shape& s = loaded.card.image;
  if (args.to != "onnx-qdq" || args.exact) return Tensor::zeros({1, s[0], s[1], s[2]});
  const auto source =
      datasets::loader(load_split(args.data, datasets::Split::train),
                       {.batch_size = args.calib,
                        .normalize = datasets::normalize_preset(args.data.normalization())});
  source->start(0);
  const auto batch = source->next();
  PARE_CHECK(batch, "there are no training images to measure ranges on");
  return batch->x;
}

/// "20 Conv, 9 Relu, ..."
std::string operators(const onnx::GraphProto& graph) {
  std::map<std::string, int64_t> counts;
  for (const onnx::NodeProto& n : graph.nodes) ++counts[n.op];
  std::string text;
  for (const auto& [op, count] : counts) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, op);
  }
  return text;
}

Outcome write_onnx(const ExportArgs& args, LoadedModel& loaded) {
  const bool qdq = args.to == "onnx-qdq";
  const Tensor example = example_images(args, loaded);
  const onnx::Exported file =
      onnx::export_model(loaded.model, example,
                         {.opset = static_cast<int>(args.opset),
                          .fold_bn = !args.keep_bn,
                          .qdq = qdq,
                          .fill = !args.exact,
                          .symmetric = args.symmetric,
                          .int4 = args.int4,
                          .name = args.model.model,
                          .metadata = {{"dataset", args.data.name()},
                                       {"normalize", args.data.normalization()},
                                       {"quant", loaded.card.quantized()}}});
  const onnx::ExportReport& r = file.report;
  PARE_CHECK(!qdq || r.integer_layers > 0, args.weights, ": no layer has quantized weights",
             hint("pare quantize quantizes a float network; --to onnx writes it as it is"));
  const std::string bytes = onnx::to_bytes(file.model);
  write_file_atomically(args.out, {bytes});
  Outcome out{.bytes = static_cast<int64_t>(bytes.size())};
  out.entries = {
      {"format", fmt::format("ONNX opset {}, IR version {}", args.opset, file.model.ir_version)},
      {"operators", operators(file.model.graph)},
      {"folded", fmt::format("{} batch norms", r.folded)}};
  if (qdq) {
    out.entries.push_back(
        {"integers", fmt::format("{} of {} layers, {} quantizers added", r.integer_layers, r.layers,
                                 r.added_quantizers)});
  }
  for (const std::string& note : r.notes) out.entries.push_back({"note", note});
  out.json = {{"opset", args.opset},
              {"ir_version", file.model.ir_version},
              {"nodes", r.nodes},
              {"bytes_of_weights", r.bytes_of_weights},
              {"folded", r.folded},
              {"layers", r.layers},
              {"integer_layers", r.integer_layers},
              {"added_quantizers", r.added_quantizers},
              {"notes", r.notes}};
  return out;
}

Outcome write_pare(const ExportArgs& args, LoadedModel& loaded) {
  const deploy::Lowered lowered = lower_loaded(loaded, args.data);
  const std::vector<uint8_t> bytes = runtime::to_bytes(lowered.program);
  write_file_atomically(args.out, {{reinterpret_cast<const char*>(bytes.data()), bytes.size()}});
  Outcome out{.bytes = static_cast<int64_t>(bytes.size())};
  std::string table = str(lowered.report);
  table.pop_back();  // the end of its last line
  out.entries = {{"layers", table}};
  out.json["layers"] = Json::array();
  for (const deploy::LowerReport::Row& r : lowered.report.rows) {
    out.json["layers"].push_back({{"name", r.name},
                                  {"weights", r.weights},
                                  {"input", r.input},
                                  {"output", r.output},
                                  {"macs", r.macs},
                                  {"bytes", r.bytes}});
  }
  return out;
}

constexpr Target kTargets[] = {
    {"onnx", "ONNX, weights in float32", write_onnx},
    {"onnx-qdq", "ONNX, integer weights and QuantizeLinear, DequantizeLinear", write_onnx},
    {"pare", "model.pare, the integer program that pare run runs", write_pare},
};

std::vector<std::string> target_names() {
  std::vector<std::string> names;
  for (const Target& t : kTargets) names.push_back(t.name);
  return names;
}

std::string target_help() {
  std::string text;
  for (const Target& t : kTargets) {
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", t.name, t.summary);
  }
  return text;
}

/// The file itself on the test images, beside the network that it was made of. ONNX has more
/// operators than can be read back: what it cannot test, it says.
Json test_exported(const ExportArgs& args, LoadedModel& loaded, const nn::Summary& network,
                   Console& console) {
  nn::Layer exported;
  try {
    exported = load_exported(args.out);
  } catch (const Error& e) {
    console.entry("untested", e.what());
    return {{"untested", e.what()}};
  }
  Side before{loaded.model}, after{exported};
  const Gap gap = compare(before, after, *test_batches(args.data, loaded.images), console);
  console.entry(
      "tested",
      fmt::format("top-1 {:.2f} %, the network {:.2f} %; the same class for {} of {} "
                  "images",
                  after.score.top1(), before.score.top1(), gap.same_class, after.score.samples));
  return {{"images", after.score.samples},
          {"same_class", gap.same_class},
          {"before", side_json(before, network)},
          {"after", side_json(after, network)}};
}

}  // namespace

void ExportArgs::fields(cli::Fields& f) {
  f.group("Weights");
  cli::weights_field(f, weights);
  model.fields(f);
  data.fields(f, /*training=*/true);
  f.group("Export");
  f(to, "to", "what to write: " + target_help(), {.one_of = target_names(), .placeholder = "NAME"});
  f(out, "out", "the file", {.placeholder = "FILE"});
  f(opset, "opset", "version of ONNX's operators",
    {.min = onnx::kMinOpset, .max = onnx::kMaxOpset});
  f(keep_bn, "keep-bn", "batch norms stay nodes of their own");
  f(symmetric, "qdq-symmetric", "int8 with zero point 0 everywhere, for TensorRT");
  f(int4, "int4", "weights of up to 4 bits take 4 bits; needs --opset 21");
  f(exact, "exact",
    "only the quantizers of the model: layers without one behind them run in float");
  f(calib, "calib", "training images that ranges of added quantizers come from",
    {.min = 1, .max = 4096});
  f(test, "test",
    "run the written file on the test images, beside the network, if it can be read back");
  f.group("Run");
  cli::threads_field(f, threads);
  cli::output_fields(f, quiet, json);
}

void ExportArgs::check(const cli::Given& given) const {
  PARE_CHECK(!weights.empty(), "--weights is needed: the trained model to export");
  PARE_CHECK(!out.empty(), "--out is needed: the file to write");
  for (const char* flag : {"qdq-symmetric", "int4", "exact", "calib"}) {
    PARE_CHECK(to == "onnx-qdq" || !given.has(flag), "--", flag, " is a matter of --to onnx-qdq");
  }
  for (const char* flag : {"opset", "keep-bn"}) {
    PARE_CHECK(to != "pare" || !given.has(flag), "--", flag, " is a matter of ONNX");
  }
  PARE_CHECK(!exact || !given.has("calib"),
             "--exact adds no quantizers that --calib would measure");
}

Json export_model(ExportArgs& args, const cli::Given& given, Console& console) {
  args.check(given);
  set_num_threads(static_cast<int>(args.threads));
  const WithImages with = args.test ? WithImages::always : WithImages::if_there;
  LoadedModel loaded = load_model(args.model, args.data, given, args.weights, with);
  console.entry("model", fmt::format("{}  from {}", args.model.model, args.weights));
  const std::string quantized = loaded.card.quantized();
  if (!quantized.empty()) console.entry("quantized", quantized);
  const auto target = std::find_if(std::begin(kTargets), std::end(kTargets),
                                   [&](const Target& t) { return t.name == args.to; });
  const Outcome outcome = target->write(args, loaded);
  for (const auto& [label, text] : outcome.entries) console.entry(label, text);
  console.entry("out", fmt::format("{}  {}", args.out, format_bytes(outcome.bytes)));
  const nn::Summary network = nn::summarize(loaded.model, loaded.card.image);
  Json result{{"model", args.model.model}, {"quant", quantized},    {"weights", args.weights},
              {"params", network.params},  {"macs", network.macs},  {"to", args.to},
              {"out", args.out},           {"bytes", outcome.bytes}};
  result.update(outcome.json);
  if (args.test) result.update(test_exported(args, loaded, network, console));
  return result;
}

int export_command(int argc, char** argv) {
  ExportArgs args;
  const cli::Given given = cli::parse(
      args,
      {.name = "pare export",
       .summary = "Writes a trained network as a file that other programs run.",
       .examples = "  pare export --weights runs/float/best.safetensors --out resnet20.onnx\n"
                   "  pare export --weights runs/w8a8/quantized.safetensors --to onnx-qdq --out "
                   "int8.onnx\n"
                   "  pare export --weights runs/w8a8/quantized.safetensors --to pare --out "
                   "model.pare\n"},
      argc, argv);
  if (given.leave) return 0;
  Console console({.json = args.json, .quiet = args.quiet});
  console.result(export_model(args, given, console));
  return 0;
}

}  // namespace pare
