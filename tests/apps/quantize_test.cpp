#include <doctest/doctest.h>

#include "core/safetensors.h"
#include "tests/apps/run.h"

namespace pare::test {
namespace {

/// A small residual network, trained for a moment, in r/.
void train(const TempDir& dir) {
  const Result r = run(dir,
                       "pare train --model resnet20 --widths 4,8,8 --train-limit 160 --test-limit "
                       "60 --batch-size 40 --epochs 1 --out r --quiet --threads 2");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
}

const std::string kFrom =
    "pare quantize --weights r/best.safetensors --test-limit 60 --calib 64 --threads 2 ";

void write(const TempDir& dir, const std::string& name, const std::string& text) {
  std::ofstream(dir / name) << text;
}

/// Accuracy and loss of a checkpoint are those that the report promises.
void check_evaluates(const TempDir& dir, const std::string& out, const Json& report) {
  const Result r =
      run(dir, "pare eval --weights " + out + "/quantized.safetensors --test-limit 60 --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["top1"] == report["quantized"]["top1"]);
  CHECK(r.json()["loss"].get<double>() ==
        doctest::Approx(report["quantized"]["loss"].get<double>()).epsilon(1e-6));
  CHECK(r.json()["quant"].get<std::string>().find("weights") != std::string::npos);
}

TEST_CASE("quantize: a scheme, from the plan to a checkpoint that evaluates") {
  TempDir dir;
  train(dir);
  Result r = run(dir, kFrom + "--quant uniform:W8A8,keep=none --out q --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  const Json report = r.json();
  CHECK(report["calibration_images"] == 64);
  CHECK(report["quantized"]["bytes_quantized"] < report["float"]["bytes_quantized"]);
  CHECK(report["same_class"] >= 50);
  int quantized = 0;
  for (const Json& row : report["plan"]) quantized += row["kind"] == "quantized";
  CHECK(quantized == 22 * 2 + 1);  // weights and inputs of 22 layers, and the pool
  CHECK(Json::parse(slurp(dir / "q/report.json")) == report);
  check_evaluates(dir, "q", report);

  // What it holds is a network that trains on, with quantizers as they are.
  r = run(dir,
          "pare train --refine q/quantized.safetensors --train-limit 80 --batch-size 40 "
          "--test-limit 60 --epochs 1 --lr 0.001 --out qat --quiet --threads 2");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(safetensors::read(dir / "qat/best.safetensors").has("layer3.2.act2.output_fn.scale"));
  r = run(dir, "pare eval --weights qat/best.safetensors --test-limit 60 --json");
  CHECK(r.code == 0);
  // And float weights again.
  r = run(dir,
          "pare train --init q/quantized.safetensors --train-limit 80 --batch-size 40 "
          "--test-limit 60 --epochs 1 --out back --quiet --threads 2");
  CAPTURE(r.err);
  CHECK(r.code == 0);
}

TEST_CASE("quantize: a config with everything") {
  TempDir dir;
  train(dir);
  write(dir, "q.yaml",
        "SCHEDULE: {FUSE_BN: True}\n"
        "W:\n"
        "  QSCHEME: per-channel-symmetric\n"
        "  QUANTIZER: {TYPE: adaround, BIT: 4}\n"
        "  SPECIFIC: [{\"first\": [\"QUANTIZER.BIT\", 8, \"QUANTIZER.TYPE\", \"uniform\"]}]\n"
        "A:\n"
        "  QSCHEME: per-tensor-affine\n"
        "  QUANTIZER: {BIT: 8}\n"
        "  OBSERVER: {TYPE: PERCENTILE}\n"
        "  QADD: {ENABLE_QUANT: True}\n");
  const Result r = run(dir, kFrom +
                                "--config q.yaml --out q --iterations 20 --equalize "
                                "--correct-bias --profile --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  const Json report = r.json();
  CHECK(report["folded"] == 21);
  CHECK(report["rounding"].size() == 21);
  CHECK(report["bias_correction"].size() == 22);
  CHECK(report["equalized"].size() > 0);
  CHECK(report["profile"].size() == 22 + 18 + 1);
  CHECK(report["profile"][0]["alone"]["sqnr_db"].get<double>() > 20);
  CHECK(report["plan"][0]["quantizer"] == "uniform:8");
  check_evaluates(dir, "q", report);
}

TEST_CASE("quantize: batch norm tuned with quantized weights, then folded") {
  TempDir dir;
  train(dir);
  const Result r =
      run(dir, kFrom + "--quant uniform:W3A8,keep=none --bn-tuning --sums --out q --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  const Json report = r.json();
  CHECK(report["folded"] == 21);
  CHECK(report["bn_tuning"].size() == 21);
  CHECK(report["bn_tuning"][0]["mean_shift"].get<double>() > 0);
  check_evaluates(dir, "q", report);
}

TEST_CASE("quantize: --plan shows, and does nothing") {
  TempDir dir;
  train(dir);
  const Result r = run(dir, kFrom + "--quant lsq:W4A4 --plan");
  CHECK(r.code == 0);
  for (const char* text : {"conv1", "lsq:4", "layer1.0.conv1.weight_fn", "not asked for",
                           "layer3.2.act2.output_fn", "follow what they are computed along with"}) {
    CAPTURE(text);
    CHECK(r.out.find(text) != std::string::npos);
  }
  CHECK_FALSE(fs::exists(dir / "q"));
}

TEST_CASE("quantize: what is wrong is one message") {
  TempDir dir;
  train(dir);
  write(dir, "bad.yaml", "W:\n  QSCHEMA: per-channel-symmetric\n");
  const auto refused = [&](const std::string& flags, const std::string& text) {
    const Result r = run(dir, kFrom + flags);
    CAPTURE(flags);
    CAPTURE(r.err);
    CHECK(r.code == 1);
    CHECK(r.says(text));
    CHECK_FALSE(fs::exists(dir / "q"));
  };
  refused("--out q", "either --config or --quant");
  refused("--quant uniform:W8A8", "--out is needed");
  refused("--config none.yaml --out q", "none.yaml");
  refused("--config bad.yaml --out q", "bad.yaml:2: unknown key W.QSCHEMA. Did you mean QSCHEME?");
  refused("--config bad.yaml --fuse-bn --out q", "--fuse-bn is a matter of --config");
  refused("--quant wbab:W2A2 --out q", "pare train --quant");
  refused("--quant uniform:W8A8 --equalize --out q", "--fuse-bn");
  refused("--quant uniform:W8A8 --fuse-bn --bn-tuning --out q", "exclude each other");

  REQUIRE(run(dir, kFrom + "--quant uniform:W8A8 --out once --quiet").code == 0);
  const Result again = run(dir, kFrom + "--quant uniform:W8A8 --out once --quiet");
  CHECK(again.says("--force overwrites it"));
  CHECK(run(dir, kFrom + "--quant uniform:W8A8 --out once --quiet --force").code == 0);
  const Result twice = run(dir,
                           "pare quantize --weights once/quantized.safetensors --quant "
                           "uniform:W8A8 --out twice");
  CHECK(twice.says("is quantized already"));
}

}  // namespace
}  // namespace pare::test
