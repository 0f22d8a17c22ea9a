#pragma once
// Which model a program works on: from flags, or from what a checkpoint says about itself.

#include <optional>
#include <set>
#include <string>

#include "apps/cli.h"
#include "apps/photo_args.h"
#include "core/safetensors.h"
#include "models/models.h"
#include "nn/checkpoint.h"
#include "nn/layer_changes.h"
#include "nn/module.h"
#include "quant/placement.h"

namespace pare {

struct ModelArgs {
  std::string model = "resnet20", order, shortcut, stem, quant, gates;
  std::vector<int64_t> widths;
  float bn_momentum = 0.1f, dropout = 0;

  /// Programs with their own flags for quantization leave out --quant.
  void fields(cli::Fields& f, bool with_quant = true);
};

/// One text for each scheme, however it was written; empty: float.
std::string canonical_quant(const std::string& text);

/// All that is needed to build a model again; stored in every checkpoint.
struct ModelCard {
  ModelArgs args;
  int64_t classes = 10;
  Shape image = {32, 32, 3};
  std::string dataset = {}, normalize = {};       // it was trained on
  PhotoArgs photos = {};                          // if these are photographs
  nn::LayerChanges changes = {};                  // by folding or pruning, before quantizers go in
  std::vector<quant::Placement> quantizers = {};  // one by one, where no text says it for all

  /// How it is quantized, in a few words; empty: float.
  std::string quantized() const;

  /// For the metadata of a checkpoint.
  nn::Metadata metadata() const;
  /// Nothing if the file is not a checkpoint of ours.
  static std::optional<ModelCard> read(const safetensors::File& file, const std::string& path);
};

/// Takes over what the checkpoint at `path` says about the model, but for flags in `skip`; flags
/// that were given must agree.
void adopt(ModelArgs& args, const ModelCard& card, const cli::Given& given,
           const std::set<std::string>& skip, const std::string& path);

/// A model may be named by a file that holds it whole.
bool is_onnx_file(const std::string& name);
/// [H, W, C] of what a model of this name is usually fed.
Shape usual_image(const std::string& model);
/// As its authors initialize it; one from an ONNX file has its weights.
void initialize(nn::Layer& model, const std::string& name, Rng& rng);
/// The uninitialized float model that the card's name and options build.
nn::Layer build_original(const ModelCard& card);
/// The same with the card's changes.
nn::Layer build_float(const ModelCard& card);
/// Puts the card's gates and quantizers in. Returns lines for the user; none for a float model.
std::string quantize(nn::Layer& model, const ModelCard& card);

/// The entry of a checkpoint whose weights are packed (prune/packed.h).
inline constexpr const char* kPackedWeights = "pare.packed";
/// Strict, but for what only training needs and, for a float model, the state of quantizers.
void load_weights(nn::Layer& model, const safetensors::File& file, const std::string& path);
void load_float_weights(nn::Layer& model, const safetensors::File& file, const std::string& path);

}  // namespace pare
