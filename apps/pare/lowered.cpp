#include "apps/pare/lowered.h"

#include <fmt/format.h>

namespace pare {

deploy::Lowered lower_loaded(LoadedModel& loaded, const DataArgs& data) {
  const Shape& image = loaded.card.image;
  deploy::Lowered lowered =
      deploy::lower(loaded.model, Tensor::zeros({1, image[0], image[1], image[2]}));
  lowered.program.name = loaded.card.args.model;
  if (loaded.images) lowered.program.labels = loaded.images->class_names;
  const datasets::Normalize n = datasets::normalize_preset(data.normalization());
  lowered.program.mean.assign(n.mean.begin(), n.mean.begin() + image[2]);
  lowered.program.std.assign(n.std.begin(), n.std.begin() + image[2]);
  return lowered;
}

const char* op_name(runtime::OpKind kind) {
  constexpr const char* kNames[] = {"conv", "max_pool", "avg_pool", "add",
                                    "mul",  "convert",  "concat",   "shuffle",
                                    "pad",  "flatten",  "affine",   "function"};
  static_assert(std::size(kNames) == runtime::kOpKinds);
  return kNames[static_cast<int>(kind)];
}

std::string describe(const runtime::Session& session) {
  return fmt::format("{}, {} threads", runtime::instruction_set(), session.threads());
}

}  // namespace pare
