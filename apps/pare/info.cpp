#include <fmt/format.h>

#include <cstdlib>

#include "apps/common_fields.h"
#include "apps/console.h"
#include "apps/model.h"
#include "apps/pare/commands.h"
#include "core/kernels/isa.h"
#include "datasets/datasets.h"
#include "nn/describe.h"
#include "nn/mpi.h"
#include "nn/trace_channels.h"
#include "quant/scheme.h"

namespace pare {

namespace {

struct InfoArgs {
  ModelArgs model;
  std::string weights, graph;
  int64_t classes = 10;
  std::vector<int64_t> image;
  bool isa = false, quant_help = false, quiet = false, json = false;

  void fields(cli::Fields& f) {
    f.group("What");
    f(weights, "weights", "describe this checkpoint", {.placeholder = "FILE"});
    f(graph, "graph",
      "instead of the layers: ops (what is computed from what), channels (which go together), or "
      "a drawing of the ops for dot (Graphviz) or mermaid",
      {.one_of = {"ops", "channels", "dot", "mermaid"}, .placeholder = "FORM"});
    f(isa, "isa", "the instruction sets this machine has, and the one in use");
    f(quant_help, "quant-help", "the forms that --quant understands");
    model.fields(f);
    f(classes, "classes", "outputs of --model", {.min = 2});
    f(image, "image", "input of --model as height,width,channels; its usual one if not given",
      {.min = 1});
    f.group("Output");
    cli::output_fields(f, quiet, json);
  }
};

Json isa_json() {
  Json supported = Json::array();
  for (Isa isa : supported_isas()) supported.push_back(isa_name(isa));
  return {{"active", isa_name(active_isa())}, {"supported", supported}};
}

std::string isa_text() {
  std::string text;
  for (Isa isa : supported_isas()) {
    text += fmt::format("{}{}", text.empty() ? "" : "\n", isa_name(isa));
    if (isa == active_isa()) text += "  (in use; PARE_ISA chooses another)";
  }
  return text;
}

/// Without an argument: what this build knows.
int show_build(Console& console) {
  Json models = Json::array();
  size_t width = 0;
  for (const models::Info& m : models::list()) width = std::max(width, m.name.size());
  std::string model_text;
  for (const models::Info& m : models::list()) {
    models.push_back({{"name", m.name}, {"summary", m.summary}});
    model_text +=
        fmt::format("{}{:<{}}  {}", model_text.empty() ? "" : "\n", m.name, width, m.summary);
  }
  const std::vector<std::string> sets = datasets::names();
  console.print(cli::version_line());
  console.entry("models", model_text);
  console.entry("data sets", fmt::format("{}", fmt::join(sets, ", ")));
  console.entry("isa", isa_text());
  console.entry("mpi", nn::with_mpi() ? "yes: mpirun -n N starts a training by several processes"
                                      : "no: one process trains");
  console.result({{"version", cli::version_line()},
                  {"models", models},
                  {"datasets", sets},
                  {"isa", isa_json()},
                  {"mpi", nn::with_mpi()}});
  return 0;
}

Json row_json(const nn::LayerRow& row) {
  return {{"path", row.path},
          {"type", row.type},
          {"output", std::vector<int64_t>(row.output.begin(), row.output.end())},
          {"params", row.params},
          {"macs", row.macs},
          {"bits", row.bits}};
}

void show_card(Console& console, const ModelCard& card, const safetensors::File& file) {
  console.entry("model", card.args.model);
  console.entry("quantized", card.quantized().empty() ? "no" : card.quantized());
  if (!card.dataset.empty()) {
    console.entry("trained on", fmt::format("{}, normalized as {}", card.dataset, card.normalize));
  }
  const auto top1 = file.metadata.find("test_top1"), epoch = file.metadata.find("epoch");
  if (top1 != file.metadata.end() && epoch != file.metadata.end()) {
    console.entry("test", fmt::format("{:.2f} % top-1 after epoch {}",
                                      std::strtod(top1->second.c_str(), nullptr), epoch->second));
  }
  console.print("");
}

/// The model that the flags describe.
ModelCard card_of(const InfoArgs& args) {
  PARE_CHECK(args.image.empty() || args.image.size() == 3, "--image: got ", args.image.size(),
             " sizes, expected height,width,channels");
  ModelCard card{.args = args.model, .classes = args.classes};
  card.args.quant = canonical_quant(args.model.quant);
  card.image = args.image.empty() ? usual_image(args.model.model) : Shape(args.image);
  return card;
}

/// The model that the file describes, or the flags if it is not a checkpoint.
ModelCard card_of(const InfoArgs& args, const cli::Given& given, const safetensors::File& file) {
  const auto saved = ModelCard::read(file, args.weights);
  if (!saved) {
    PARE_CHECK(given.has("model"), args.weights, ": does not say which model it holds",
               hint("add --model (and --quant, --widths, ... if they apply)"));
    return card_of(args);
  }
  ModelArgs flags = card_of(args).args;
  adopt(flags, *saved, given, {}, args.weights);  // flags that were given must agree
  return *saved;
}

std::string graph_text(nn::Layer& model, const Shape& image, const std::string& form) {
  const nn::Graph graph = nn::trace(model, Tensor::zeros({1, image[0], image[1], image[2]}));
  if (form == "dot") return nn::graphviz(graph);
  if (form == "mermaid") return nn::mermaid(graph);
  return form == "ops" ? nn::table(graph) : nn::table(graph, nn::channels(graph));
}

int show_model(const InfoArgs& args, const cli::Given& given, Console& console) {
  ModelCard card = card_of(args);
  safetensors::File file;
  if (!args.weights.empty()) {
    file = safetensors::read(args.weights);
    card = card_of(args, given, file);
    if (args.graph.empty()) show_card(console, card, file);
  }
  nn::Layer model = build_float(card);
  quantize(model, card);
  if (!args.weights.empty()) load_weights(model, file, args.weights);
  if (!args.graph.empty()) {
    const std::string text = graph_text(model, card.image, args.graph);
    console.print(text.substr(0, text.find_last_not_of('\n') + 1));
    console.result({{"model", card.args.model}, {"graph", text}});
    return 0;
  }
  const nn::Summary summary = nn::summarize(model, card.image);
  console.print(nn::table(summary));
  Json layers = Json::array();
  for (const nn::LayerRow& row : summary.rows) layers.push_back(row_json(row));
  console.result({{"model", card.args.model},
                  {"quant", card.quantized()},
                  {"params", summary.params},
                  {"macs", summary.macs},
                  {"bytes_fp32", summary.bytes_fp32},
                  {"bytes_quantized", summary.bytes_quantized},
                  {"layers", layers}});
  return 0;
}

int info(InfoArgs& args, const cli::Given& given) {
  Console console({.json = args.json, .quiet = args.quiet});
  if (args.isa) {
    console.print(isa_text());
    console.result(isa_json());
    return 0;
  }
  if (args.quant_help) {
    console.print(quant::scheme_help());
    console.result({{"help", quant::scheme_help()}});
    return 0;
  }
  if (args.weights.empty() && !given.has("model")) return show_build(console);
  return show_model(args, given, console);
}

}  // namespace

int info_command(int argc, char** argv) {
  InfoArgs args;
  const cli::Given given =
      cli::parse(args,
                 {.name = "pare info",
                  .summary = "What is in a model, a checkpoint, or this build.",
                  .examples = "  pare info\n"
                              "  pare info --model nin_gc --quant wbab:W2A2\n"
                              "  pare info --weights runs/float/best.safetensors\n"
                              "  pare info --model resnet20 --graph dot | dot -Tsvg > graph.svg\n"},
                 argc, argv);
  return given.leave ? 0 : info(args, given);
}

}  // namespace pare
