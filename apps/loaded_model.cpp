#include "apps/loaded_model.h"

#include <fmt/format.h>

#include "core/autograd.h"
#include "core/files.h"
#include "core/kernels/isa.h"
#include "core/parallel.h"
#include "deploy/onnx/model.h"
#include "nn/state.h"

namespace pare {

namespace {

ModelCard card_of(ModelArgs& args, DataArgs& data, const cli::Given& given,
                  const safetensors::File& file, const std::string& weights) {
  const auto card = ModelCard::read(file, weights);
  if (!card) {
    PARE_CHECK(given.has("model"), weights, ": does not say which model it holds",
               hint("add --model (and --quant, --widths, ... if they apply)"));
    return {.args = args};
  }
  adopt(args, *card, given, {"bn-momentum", "dropout"}, weights);
  data.adopt(card->dataset, card->normalize, card->photos, given);
  return *card;
}

/// The file is the model, and says what it was trained on if it was exported here.
LoadedModel load_onnx(ModelArgs& args, DataArgs& data, const cli::Given& given,
                      const std::string& weights) {
  PARE_CHECK(!given.has("model") && args.quant.empty(), weights,
             ": says itself which model it holds, and how it is quantized",
             hint("leave out --model and --quant"));
  auto metadata = onnx::parse_model(read_file(weights), weights).metadata;
  args.model = weights;
  if (metadata.count("dataset"))
    data.adopt(metadata["dataset"], metadata["normalize"], data.photos, given);
  const auto images = load_split(data, datasets::Split::test);
  ModelCard card{.args = args, .classes = images->classes(), .image = images->image};
  nn::Layer model = build_float(card);
  const Shape& s = card.image;
  const Shape output = [&] {
    const NoGrad guard;
    return model(Tensor::zeros({1, s[0], s[1], s[2]})).shape();
  }();
  PARE_CHECK((output == Shape{1, card.classes}), weights, ": gives ", output, " for an image, ",
             data.name(), " has ", card.classes, " classes");
  return {std::move(card), {}, std::move(model), images};
}

}  // namespace

LoadedModel load_model(ModelArgs& args, DataArgs& data, const cli::Given& given,
                       const std::string& weights, WithImages with) {
  if (is_onnx_file(weights)) return load_onnx(args, data, given, weights);
  args.quant = canonical_quant(args.quant);
  const safetensors::File file = safetensors::read(weights);
  ModelCard card = card_of(args, data, given, file, weights);
  const bool ours = !card.dataset.empty();
  const bool without = with == WithImages::if_there && ours && !data.is_there();
  const auto images = without ? nullptr : load_split(data, datasets::Split::test);
  PARE_CHECK(!ours || !images ||
                 (card.classes == images->classes() && card.image.dim(-1) == images->image.dim(-1)),
             weights, ": was made for ", card.classes, " classes and ", card.image.dim(-1),
             " channels, ", data.name(), " has ", images->classes(), " and ",
             images->image.dim(-1));
  card.args = args;
  if (images) {
    card.classes = images->classes();
    card.image = images->image;
  }
  nn::Layer model = build_float(card);
  quantize(model, card);
  load_weights(model, file, weights);
  return {std::move(card), file.metadata, std::move(model), images};
}

std::string program_line(const std::string& program) {
  return fmt::format("{}  {}, {} threads", program, isa_name(active_isa()), num_threads());
}

void print_head(const std::string& program, const LoadedModel& loaded, const std::string& weights,
                const DataArgs& data, Console& console) {
  console.print(program_line(program));
  console.entry("model", fmt::format("{}  from {}", loaded.card.args.model, weights));
  const std::string quantized = loaded.card.quantized();
  if (!quantized.empty()) console.entry("quantized", quantized);
  console.entry("test on", fmt::format("{}  {}, normalized as {}", data.name(),
                                       describe_images(*loaded.images), data.normalization()));
}

void save_changed(const LoadedModel& loaded, nn::Layer& now, const DataArgs& data,
                  nn::Metadata metadata, const std::string& path) {
  ModelCard card = loaded.card;
  nn::Layer original = build_original(card);
  card.changes = nn::layer_changes(original, now);
  card.dataset = data.name();
  card.normalize = data.normalization();
  card.photos = data.photos;
  for (const auto& [key, value] : card.metadata()) metadata[key] = value;
  nn::save_weights(path, now, metadata);
}

}  // namespace pare
