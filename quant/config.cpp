#include "quant/config.h"

#include <algorithm>

#include "quant/config_side.h"

namespace pare::quant {

namespace {

using nn::Yaml;

bool switched(const Yaml& schedule, const char* key, bool usual) {
  const Yaml* value = schedule.find(key);
  return value ? value->boolean() : usual;
}

std::vector<std::string> words(const Yaml& list) {
  std::vector<std::string> all;
  for (const Yaml& item : list.items()) all.push_back(item.text());
  return all;
}

void read_schedule(const Yaml& file, Config& config) {
  const Yaml* schedule = file.find("SCHEDULE");
  if (!schedule) return;
  schedule->check_keys({"FUSE_BN", "BN_TUNING", "DISABLE_UNNECESSARY_QUANT"});
  config.fuse_bn = switched(*schedule, "FUSE_BN", false);
  config.bn_tuning = switched(*schedule, "BN_TUNING", false);
  config.rules.chains = switched(*schedule, "DISABLE_UNNECESSARY_QUANT", true);
  if (config.fuse_bn && config.bn_tuning) {
    schedule->at("BN_TUNING")
        .fail("FUSE_BN leaves no batch norm to tune",
              "say one of the two; BN_TUNING folds batch norm when it is done");
  }
}

}  // namespace

Config parse_config(const Yaml& file) {
  file.check_keys({"BACKEND", "DEVICE", "SKIP_TRACE_MODULES", "SCHEDULE", "W", "A"});
  Config config;
  Backend backend = Backend::any;
  if (const Yaml* b = file.find("BACKEND")) {
    const std::string& word = b->word({"virtual", "onnxruntime", "tensorrt"});
    if (word != "virtual") {
      backend = word == "tensorrt" ? Backend::tensorrt : Backend::onnxruntime;
    }
  }
  if (const Yaml* device = file.find("DEVICE")) device->word({"cpu"});
  if (const Yaml* skip = file.find("SKIP_TRACE_MODULES")) config.rules.skip = words(*skip);
  read_schedule(file, config);

  const auto weight = std::make_shared<const ConfigSide>(file.at("W"), Role::weight, backend);
  const auto input = std::make_shared<const ConfigSide>(file.at("A"), Role::activation, backend);
  if (config.bn_tuning) weight->require_channels();
  config.rules.sums = input->sums();
  for (const ConfigSide* side : {weight.get(), input.get()}) {
    const std::vector<std::string> patterns = side->patterns();
    config.rules.patterns.insert(config.rules.patterns.end(), patterns.begin(), patterns.end());
  }
  config.rules.spec = [weight, input](Role role, const std::string& name, const LayerInfo* layer) {
    return (role == Role::weight ? weight : input)->spec(name, layer);
  };
  return config;
}

Config config_of(const Scheme& scheme) {
  PARE_CHECK(scheme.active(), "quant: this scheme quantizes nothing");
  PARE_CHECK(
      scheme.place != Place::act && !scheme.xnor && scheme.bn == BnPlace::apart,
      "quant: place=act, xnor and bn change what a network computes, and a trained one would "
      "have to learn that",
      hint("`pare train --quant` trains with them"));
  PARE_CHECK(!scheme.activation || !find_quantizer(scheme.activation->name).is_sign,
             "quant: ", scheme.activation->name,
             " activations stand for nonlinearities that the trained "
             "network has already",
             hint("`pare train --quant` trains with them"));
  Config config;
  config.rules.spec = [scheme](Role role, const std::string& name, const LayerInfo* layer) {
    if (layer) return spec_of(scheme, role, *layer);
    const bool kept = std::any_of(scheme.keep.begin(), scheme.keep.end(),
                                  [&](const std::string& k) { return fits(k, name); });
    return kept ? std::nullopt : scheme.activation;
  };
  return config;
}

Prepared prepare(nn::Layer& model, const Config& config, const Tensor& example) {
  Prepared done;
  if (config.fuse_bn) done.folded = fold_bn(model, example);
  done.plan = plan(model, example, config.rules);
  const std::vector<Placement> placements = done.plan.placements();
  PARE_CHECK(!placements.empty(), "quant: nothing is to be quantized");
  done.report = place(model, placements);
  return done;
}

}  // namespace pare::quant
