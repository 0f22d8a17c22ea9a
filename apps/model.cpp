#include "apps/model.h"

#include <fmt/format.h>

#include <map>

#include "apps/version.h"
#include "deploy/onnx/import.h"
#include "nn/state.h"
#include "prune/gates.h"
#include "prune/packed.h"
#include "quant/scheme.h"

namespace pare {

namespace {

constexpr const char* kCard = "pare";
constexpr const char* kOnnx = ".onnx";

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const models::Info& info : models::list()) names.push_back(info.name);
  return names;
}

/// {"layer1.0.conv1": {"out": 9, "bias": true}, "layer1.0.bn1": "removed"}
Json changes_json(const nn::LayerChanges& changes) {
  Json json = Json::object();
  for (const auto& [path, change] : changes) {
    Json& entry = json[path];
    if (change.removed) {
      entry = "removed";
      continue;
    }
    const auto put = [&](const char* key, const auto& value) {
      if (value) entry[key] = *value;
    };
    put("in", change.in), put("out", change.out), put("groups", change.groups);
    put("bias", change.bias);
  }
  return json;
}

nn::LayerChanges changes_from(const Json& json, const std::string& file) {
  nn::LayerChanges changes;
  for (const auto& item : json.items()) {
    const std::string& path = item.key();
    const Json& entry = item.value();
    nn::LayerChange& change = changes[path];
    change.removed = entry == "removed";
    if (change.removed) continue;
    size_t known = 0;
    const auto take = [&](const char* key, auto& value) {
      if (!entry.contains(key)) return;
      value = entry[key].get<typename std::decay_t<decltype(value)>::value_type>();
      ++known;
    };
    take("in", change.in), take("out", change.out), take("groups", change.groups);
    take("bias", change.bias);
    PARE_CHECK(entry.is_object() && known == entry.size(), file, ": the change of ", path, " to ",
               entry.dump(), " is not understood", hint("it was written by another version"));
  }
  return changes;
}

/// [{"at": "conv1.input_fn", "quantizer": "uniform:8"}, ...]
Json quantizers_json(const std::vector<quant::Placement>& quantizers) {
  Json json = Json::array();
  for (const quant::Placement& p : quantizers) {
    Json entry{{"at", quant::to_string(p)}, {"quantizer", quant::to_string(p.spec)}};
    if (p.channels > 0) entry["channels"] = p.channels;
    json.push_back(entry);
  }
  return json;
}

std::vector<quant::Placement> quantizers_from(const Json& json) {
  std::vector<quant::Placement> all;
  for (const Json& entry : json) {
    quant::Placement p = quant::parse_placement(entry.at("at").get<std::string>());
    const bool weight = p.socket == quant::Socket::weight;
    p.spec = quant::parse_spec(entry.at("quantizer").get<std::string>(),
                               weight ? quant::Role::weight : quant::Role::activation);
    p.channels = entry.value("channels", int64_t{0});
    all.push_back(p);
  }
  return all;
}

}  // namespace

void ModelArgs::fields(cli::Fields& f, bool with_quant) {
  f.group("Model");
  f(model, "model", "network; `pare info` lists them; or an ONNX file",
    {.one_of = model_names(), .or_ending = kOnnx, .placeholder = "NAME"});
  f(widths, "widths", "channels of its layers instead of the paper's", {.min = 1});
  f(order, "order",
    "block order of NIN: cbap, bacp, cbpa, acbp (C conv, B batch norm, A activation, P pool)");
  f(shortcut, "shortcut", "CIFAR ResNet: A (pad) or B (1x1 convolution)");
  f(stem, "stem", "ImageNet ResNet: imagenet (7x7, pool) or cifar (3x3)");
  f(bn_momentum, "bn-momentum", "how fast running statistics follow the batch",
    {.min = 0, .max = 1});
  f(dropout, "dropout", "probability, in models that have dropout", {.min = 0, .max = 0.99});
  f(gates, "gates",
    "switches on channels, trained with the weights, which `pare prune` reads: l0 or resrep",
    {.one_of = prune::gate_kinds(), .placeholder = "NAME"});
  if (with_quant) f(quant, "quant", "how to quantize; `pare info --quant-help` explains the text");
}

std::string canonical_quant(const std::string& text) {
  if (text.empty()) return {};
  const quant::Scheme scheme = quant::parse_scheme(text);
  return scheme.active() ? quant::to_string(scheme) : std::string();
}

nn::Metadata ModelCard::metadata() const {
  ModelArgs copy = args;
  Json card{{"version", kVersion}, {"model", cli::to_json(copy)},
            {"classes", classes},  {"image", std::vector<int64_t>(image.begin(), image.end())},
            {"dataset", dataset},  {"normalize", normalize}};
  if (PhotoArgs shown = photos; shown != PhotoArgs()) card["photos"] = cli::to_json(shown);
  if (!changes.empty()) card["changes"] = changes_json(changes);
  if (!quantizers.empty()) card["quantizers"] = quantizers_json(quantizers);
  return {{kCard, card.dump()}};
}

std::string ModelCard::quantized() const {
  if (quantizers.empty()) return args.quant;
  std::map<std::string, int> kinds;
  for (const quant::Placement& p : quantizers) {
    const char* side = p.socket == quant::Socket::weight ? "weights" : "values";
    ++kinds[str(side, " ", quant::name_and_bits(p.spec))];
  }
  std::string text;
  for (const auto& [kind, count] : kinds) text += str(text.empty() ? "" : ", ", count, " ", kind);
  return text;
}

std::optional<ModelCard> ModelCard::read(const safetensors::File& file, const std::string& path) {
  const auto it = file.metadata.find(kCard);
  if (it == file.metadata.end()) return {};
  try {
    const Json json = Json::parse(it->second);
    ModelCard card;
    cli::Fields fields;
    card.args.fields(fields);
    cli::inherit(fields, json.at("model"), {}, path);
    card.args.quant = canonical_quant(card.args.quant);  // an older text for the same
    card.classes = json.at("classes").get<int64_t>();
    card.image = Shape(json.at("image").get<std::vector<int64_t>>());
    card.dataset = json.at("dataset").get<std::string>();
    card.normalize = json.at("normalize").get<std::string>();
    if (json.contains("photos")) {
      cli::Fields photos;
      card.photos.fields(photos);
      cli::inherit(photos, json["photos"], {}, path);
    }
    if (json.contains("changes")) card.changes = changes_from(json["changes"], path);
    if (json.contains("quantizers")) card.quantizers = quantizers_from(json["quantizers"]);
    return card;
  } catch (const nlohmann::json::exception& e) {
    throw Error(str(path, ": the description of its model is damaged: ", e.what()), "model");
  }
}

void adopt(ModelArgs& args, const ModelCard& card, const cli::Given& given,
           const std::set<std::string>& skip, const std::string& path) {
  cli::Fields fields;
  args.fields(fields);
  ModelArgs saved = card.args;
  cli::inherit(fields, cli::to_json(saved), given, path + " holds a model with", {.skip = skip});
}

bool is_onnx_file(const std::string& name) { return name.ends_with(kOnnx); }

Shape usual_image(const std::string& model) {
  if (is_onnx_file(model)) {
    const std::vector<int64_t> input = onnx::import_file(model).input;
    const bool fixed = input.size() == 4 && input[1] > 0 && input[2] > 0 && input[3] > 0;
    PARE_CHECK(fixed, model, ": does not say how large its images are", hint("add --image"));
    return {input[1], input[2], input[3]};
  }
  for (const models::Info& info : models::list()) {
    if (info.name == model) return info.image;
  }
  throw Error(str("no model is called '", model, "'"), "usual_image");
}

nn::Layer build_original(const ModelCard& card) {
  const ModelArgs& a = card.args;
  if (is_onnx_file(a.model)) return onnx::import_file(a.model).model;
  return models::make(a.model, {.classes = card.classes,
                                .image = card.image,
                                .widths = a.widths,
                                .order = a.order,
                                .shortcut = a.shortcut,
                                .stem = a.stem,
                                .bn_momentum = a.bn_momentum,
                                .dropout = a.dropout});
}

void initialize(nn::Layer& model, const std::string& name, Rng& rng) {
  if (!is_onnx_file(name)) nn::init(model, rng, models::init_options(name));
}

nn::Layer build_float(const ModelCard& card) {
  nn::Layer model = build_original(card);
  nn::apply_changes(model, card.changes);
  return model;
}

std::string quantize(nn::Layer& model, const ModelCard& card) {
  const Tensor example =
      Tensor::zeros({1, card.image.dim(0), card.image.dim(1), card.image.dim(2)});
  if (!card.args.gates.empty()) prune::add_gates(model, example, card.args.gates, Rng(0));
  if (card.args.quant.empty() && card.quantizers.empty()) return {};
  std::string report = card.quantizers.empty()
                           ? str(quant::apply(model, quant::parse_scheme(card.args.quant), example))
                           : str(quant::place(model, card.quantizers));
  if (report.ends_with('\n')) report.pop_back();
  return report;
}

namespace {

/// Loads packed weights, if the file holds them.
bool unpack(nn::Layer& model, const safetensors::File& file) {
  if (!file.has(kPackedWeights)) return false;
  const std::vector<std::byte>& bytes = file.at(kPackedWeights).bytes;
  prune::unpack({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, model);
  return true;
}

}  // namespace

void load_weights(nn::Layer& model, const safetensors::File& file, const std::string& path) {
  if (unpack(model, file)) return;
  nn::get_weights(nn::weights_only(file), model, path);
}

void load_float_weights(nn::Layer& model, const safetensors::File& file, const std::string& path) {
  if (unpack(model, file)) return;
  safetensors::File weights = nn::weights_only(file);
  std::erase_if(weights.entries, [](const auto& entry) {
    for (const char* socket : {".weight_fn.", ".input_fn.", ".output_fn."}) {
      if (entry.first.find(socket) != std::string::npos) return true;
    }
    return false;
  });
  // What stood in a quant::Quantized goes back to its own path.
  const std::string around = ".wrapped.";
  std::map<std::string, safetensors::Entry> renamed;
  for (auto& [name, entry] : weights.entries) {
    std::string plain = name;
    for (size_t at = 0; (at = plain.find(around, at)) != std::string::npos;) {
      plain.replace(at, around.size(), ".");
    }
    renamed[plain] = std::move(entry);
  }
  weights.entries = std::move(renamed);
  nn::get_weights(weights, model, path);
}

}  // namespace pare
