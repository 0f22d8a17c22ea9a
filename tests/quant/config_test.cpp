#include "quant/config.h"

#include <doctest/doctest.h>

#include "models/models.h"
#include "nn/init.h"
#include "tests/support/message.h"

namespace pare {
namespace {

using namespace quant;
using nn::Yaml;
using test::contains, test::message_of;

Config parse(const std::string& text) { return parse_config(Yaml::parse(text, "q.yaml")); }
std::string refused(const std::string& text) {
  return message_of([&] { parse(text); });
}

/// A config whose W or A goes on with these lines.
std::string with_w(const std::string& lines) {
  return "W:\n" + lines + "A: {QSCHEME: per-tensor-affine, QUANTIZER: {BIT: 8}}\n";
}
std::string with_a(const std::string& lines) {
  return "W: {QSCHEME: per-channel-symmetric, QUANTIZER: {BIT: 8}}\nA:\n" + lines;
}

nn::Layer resnet() {
  models::Options o;
  o.widths = {4, 8, 8};
  o.image = {16, 16, 3};
  nn::Layer model = models::make("resnet20", o);
  Rng rng(1);
  nn::init(model, rng);
  return model;
}

std::string spec_at(const Config& config, Role role, const std::string& path) {
  nn::Layer model = resnet();
  for (const LayerInfo& info : layers(model)) {
    if (info.path != path) continue;
    const auto spec = config.rules.spec(role, path, &info);
    return spec ? to_string(*spec) : "float";
  }
  const auto spec = config.rules.spec(role, path, nullptr);
  return spec ? to_string(*spec) : "float";
}

constexpr const char* kWhole =
    "BACKEND: virtual\n"
    "SKIP_TRACE_MODULES: [\"layer3*\"]\n"
    "SCHEDULE:\n"
    "  FUSE_BN: True\n"
    "  DISABLE_UNNECESSARY_QUANT: False\n"
    "W:\n"
    "  QSCHEME: per-channel-symmetric\n"
    "  QUANTIZER: {TYPE: uniform, BIT: 4}\n"
    "  OBSERVER: {TYPE: MSE}\n"
    "  SPECIFIC: [{\"conv1\": [\"QUANTIZER.BIT\", 8], \"layer1.*\": [\"QUANTIZER.BIT\", 3]},\n"
    "             {\"layer1_0_conv1\": [\"OBSERVER.TYPE\", \"MINMAX\"]}]\n"
    "A:\n"
    "  QSCHEME: per-tensor-affine\n"
    "  QUANTIZER: {BIT: 6}\n"
    "  OBSERVER: {TYPE: PERCENTILE, PERCENTILE: {ALPHA: 0.01}}\n"
    "  QADD: {ENABLE_QUANT: True}\n"
    "  SPECIFIC: [{\"last\": [\"QUANTIZER.DISABLE\", True]}]\n";

TEST_CASE("config: every key arrives, and what is specific adds up") {
  const Config c = parse(kWhole);
  CHECK(c.fuse_bn);
  CHECK_FALSE(c.bn_tuning);
  CHECK_FALSE(c.rules.chains);
  CHECK(c.rules.sums);
  CHECK(c.rules.skip == std::vector<std::string>{"layer3*"});
  CHECK(spec_at(c, Role::weight, "layer2.0.conv1") == "uniform:4,observer=mse");
  CHECK(spec_at(c, Role::weight, "conv1") == "uniform:8,observer=mse");
  CHECK(spec_at(c, Role::weight, "layer1.1.conv1") == "uniform:3,observer=mse");
  CHECK(spec_at(c, Role::weight, "layer1.0.conv1") == "uniform:3");  // minmax again
  CHECK(spec_at(c, Role::activation, "conv1") == "uniform:6,observer=percentile,tail=0.01");
  CHECK(spec_at(c, Role::activation, "layer1.0.add") == "uniform:6,observer=percentile,tail=0.01");
  CHECK(spec_at(c, Role::activation, "linear") == "float");
}

TEST_CASE("config: prepare folds, plans and puts in") {
  nn::Layer model = resnet();
  const Tensor x = Tensor::zeros({1, 16, 16, 3});
  const Prepared done = prepare(model, parse(kWhole), x);
  CHECK(done.folded.folded() == 21);  // two projection shortcuts
  CHECK_FALSE(done.plan.placements().empty());
  CHECK(contains(str(done.plan), "left alone: layer3*"));
  CHECK(done.report.rows.size() > 20);
  nn::Layer other = resnet();
  const Config nothing = parse(
      "W: {QSCHEME: per-tensor-affine, QUANTIZER: {BIT: 0}}\n"
      "A: {QSCHEME: per-tensor-affine, QUANTIZER: {DISABLE: True}}\n");
  CHECK(contains(message_of([&] { prepare(other, nothing, x); }), "nothing is to be quantized"));
  const Config typo =
      parse(with_w("  QSCHEME: per-tensor-affine\n"
                   "  QUANTIZER: {BIT: 4}\n"
                   "  SPECIFIC: [{\"lauer1*\": [\"QUANTIZER.BIT\", 8]}]\n"));
  CHECK(contains(message_of([&] { prepare(other, typo, x); }), "lauer1* fits nothing"));
}

TEST_CASE("config: quantizers by their names, in any case") {
  const auto w = [](const std::string& type, const std::string& scheme) {
    return spec_at(
        parse(with_w("  {QSCHEME: " + scheme + ", QUANTIZER: {TYPE: " + type + ", BIT: 4}}\n")),
        Role::weight, "conv1");
  };
  CHECK(w("uniform", "per-tensor-affine") == "uniform:4,scheme=affine,per=tensor");
  CHECK(w("LSQ", "per-channel-symmetric") == "lsq:4,per=channel");
  CHECK(w("lsq+", "per-channel-symmetric") == "lsq+:4");
  CHECK(w("adaround", "per-channel-symmetric") == "adaround:4");
  CHECK(w("DoReFa", "per-tensor-symmetric") == "dorefa:4");
  const auto a = [](const std::string& type, const std::string& scheme) {
    return spec_at(
        parse(with_a("  {QSCHEME: " + scheme + ", QUANTIZER: {TYPE: " + type + ", BIT: 4}}\n")),
        Role::activation, "conv1");
  };
  CHECK(a("lsq", "per-tensor-affine") == "lsq:4");  // auto: no zero point, unsigned where it can
  CHECK(a("lsq", "per-tensor-symmetric") == "lsq:4,scheme=symmetric");
  CHECK(a("lsq+", "per-tensor-affine") == "lsq+:4");
  CHECK(a("pact", "per-tensor-affine") == "pact:4");
  CHECK(a("dorefa", "per-tensor-affine") == "dorefa:4");
}

TEST_CASE("config: observers by their names, with what they can be told") {
  const auto a = [](const std::string& observer) {
    return spec_at(parse(with_a("  QSCHEME: per-tensor-affine\n  QUANTIZER: {BIT: 4}\n"
                                "  OBSERVER: " +
                                observer + "\n")),
                   Role::activation, "conv1");
  };
  CHECK(a("{TYPE: minmax}") == "uniform:4");
  CHECK(a("{TYPE: KL_HISTOGRAM}") == "uniform:4,observer=kl");
  CHECK(a("{TYPE: ACIQ, ACIQ: {DISTRIBUTION: GAUS}}") == "uniform:4,observer=aciq");
  CHECK(a("{TYPE: ACIQ, ACIQ: {DISTRIBUTION: LAPLACE}}") ==
        "uniform:4,observer=aciq,distribution=laplace");
  CHECK(a("{TYPE: MOVING_AVERAGE, MOVING_AVERAGE: {EMA_RATIO: 0.8}}") ==
        "uniform:4,observer=moving_average,ema=0.8");
}

TEST_CASE("config: typing errors are met with the nearest name and the line") {
  CHECK(contains(refused("BACKENT: virtual\n"),
                 "q.yaml:1: unknown key BACKENT. Did you mean "
                 "BACKEND?"));
  CHECK(contains(refused(with_w("  QSCHEM: per-channel-symmetric\n")),
                 "q.yaml:2: unknown key W.QSCHEM. Did you mean QSCHEME?"));
  CHECK(contains(refused(with_w("  QSCHEME: per-chanel-symmetric\n  QUANTIZER: {BIT: 4}\n")),
                 "Did you mean per-channel-symmetric?"));
  CHECK(contains(refused(with_w("  QSCHEME: per-channel-symmetric\n  QUANTIZER:\n    BITS: 4\n")),
                 "q.yaml:4: unknown key W.QUANTIZER.BITS. Did you mean BIT?"));
  CHECK(contains(refused(with_w("  QSCHEME: per-channel-symmetric\n"
                                "  QUANTIZER: {BIT: 4, TYPE: lsqq}\n")),
                 "q.yaml:3: W.QUANTIZER.TYPE: quant: there is no quantizer 'lsqq'. Did you mean"));
  CHECK(contains(refused(with_w("  QSCHEME: per-channel-symmetric\n  QUANTIZER: {BIT: 4}\n"
                                "  SPECIFIC: [{conv1: [QUANTIZER.BITS, 8]}]\n")),
                 "q.yaml:4: W.SPECIFIC[0].conv1[0]"));
  CHECK(contains(refused(with_w("  QSCHEME: per-channel-symmetric\n  QUANTIZER: {BIT: 4}\n"
                                "  SPECIFIC: [{conv1: [QUANTIZER.BIT]}]\n")),
                 "keys and values in turn"));
  CHECK(contains(refused("A: {}\n"), "the key W is missing"));
  CHECK(contains(refused(with_w("  QUANTIZER: {BIT: 4}\n")), "the key QSCHEME is missing"));
  CHECK(contains(refused(with_w("  QSCHEME: per-tensor-affine\n")),
                 "the key QUANTIZER.BIT is missing"));
}

TEST_CASE("config: what makes no sense is refused with the reason") {
  const auto w = [](const std::string& scheme, const std::string& quantizer,
                    const std::string& more = {}) {
    return refused(with_w("  QSCHEME: " + scheme + "\n  QUANTIZER: {BIT: 4, TYPE: " + quantizer +
                          "}\n" + more));
  };
  CHECK(contains(w("per-channel-affine", "lsq"), "LSQ learns no zero point"));
  CHECK(contains(w("per-tensor-symmetric", "lsq+"), "LSQ+ gives each filter its own step"));
  CHECK(contains(w("per-channel-symmetric", "pact"), "pact is not for weights"));
  CHECK(contains(w("per-channel-symmetric", "dorefa"), "one range for a whole tensor"));
  CHECK(contains(w("per-channel-symmetric", "lsq+", "  OBSERVER: {TYPE: MSE}\n"),
                 "finds its start without an observer"));
  CHECK(contains(w("per-channel-symmetric", "uniform", "  OBSERVER: {PERCENTILE: {ALPHA: 0.1}}\n"),
                 "has no effect unless OBSERVER.TYPE is percentile"));
  CHECK(contains(w("per-channel-symmetric", "uniform", "  OBSERVER: {TYPE: MOVING_AVERAGE}\n"),
                 "q.yaml:4: W.OBSERVER.TYPE"));
  CHECK(contains(w("per-channel-symmetric", "binary"), "has no bits to choose"));
  CHECK(contains(refused(with_a("  QSCHEME: per-tensor-affine\n  QUANTIZER: {BIT: 4}\n"
                                "  OBSERVER: {LAYOUT: NCHW}\n")),
                 "leave LAYOUT out"));
  CHECK(contains(refused(with_a("  QSCHEME: per-tensor-symmetric\n"
                                "  QUANTIZER: {BIT: 4, TYPE: dorefa}\n")),
                 "dorefa activations start at 0"));
  CHECK(contains(refused(with_a("  QSCHEME: per-tensor-affine\n"
                                "  QUANTIZER: {BIT: 4, PACT: {ALPHA_VALUE: 3}}\n")),
                 "has no effect on uniform"));
  const std::string both = "SCHEDULE: {FUSE_BN: True, BN_TUNING: True}\n";
  CHECK(contains(refused(both + with_w("  {QSCHEME: per-channel-symmetric}\n")),
                 "no batch norm to tune"));
  CHECK(contains(refused("SCHEDULE: {BN_TUNING: True}\n" +
                         with_w("  QSCHEME: per-tensor-symmetric\n  QUANTIZER: {BIT: 4}\n")),
                 "BN_TUNING folds a factor into each filter"));
}

TEST_CASE("config: backends refuse what they cannot compute") {
  const auto on = [](const std::string& backend, const std::string& w, const std::string& a,
                     const std::string& bits) {
    return refused("BACKEND: " + backend + "\nW: {QSCHEME: " + w + ", QUANTIZER: {BIT: " + bits +
                   "}}\nA: {QSCHEME: " + a + ", QUANTIZER: {BIT: 8}}\n");
  };
  CHECK(on("tensorrt", "per-channel-symmetric", "per-tensor-symmetric", "8").empty());
  CHECK(contains(on("tensorrt", "per-tensor-symmetric", "per-tensor-symmetric", "8"),
                 "needs per-channel-symmetric"));
  CHECK(contains(on("tensorrt", "per-channel-symmetric", "per-tensor-affine", "8"),
                 "needs per-tensor-symmetric"));
  CHECK(on("onnxruntime", "per-tensor-affine", "per-tensor-affine", "8").empty());
  CHECK(contains(on("onnxruntime", "per-tensor-affine", "per-tensor-affine", "4"),
                 "computes with 8 bits, got 4"));
  CHECK(contains(on("openvino", "per-tensor-affine", "per-tensor-affine", "8"), "one of virtual"));
}

TEST_CASE("config: a scheme says the same") {
  const Config c = config_of(parse_scheme("uniform:W4A6,edges=uniform:8"));
  CHECK(spec_at(c, Role::weight, "conv1") == "uniform:8");
  CHECK(spec_at(c, Role::weight, "layer1.0.conv1") == "uniform:4");
  CHECK(spec_at(c, Role::activation, "layer1.0.conv1") == "uniform:6");
  CHECK(spec_at(c, Role::activation, "mean") == "uniform:6");
  const Config kept = config_of(parse_scheme("uniform:W8A8,keep=layer1.*"));
  CHECK(spec_at(kept, Role::activation, "layer1.0.add") == "float");
  CHECK(contains(message_of([] { config_of(parse_scheme("wbab:W2A2")); }), "pare train --quant"));
  CHECK(contains(message_of([] { config_of(parse_scheme("iao:W8A8,bn=fused")); }),
                 "would have to learn"));
  CHECK(contains(message_of([] { config_of(parse_scheme("float")); }), "quantizes nothing"));
  const Config binary = config_of(parse_scheme("W=binary,A=uniform:8"));
  CHECK(spec_at(binary, Role::weight, "layer1.0.conv1") == "binary");
}

}  // namespace
}  // namespace pare
