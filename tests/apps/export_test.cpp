#include <doctest/doctest.h>

#include "deploy/onnx/model.h"
#include "tests/apps/run.h"

using namespace pare;
using namespace pare::test;

TEST_CASE("pare export: a trained network, float and quantized, as ONNX") {
  const TempDir dir;
  REQUIRE(run(dir, "pare train" + kTiny + "--epochs 1 --out r").code == 0);
  const Result plain =
      run(dir, "pare export --weights r/best.safetensors --out f.onnx --opset 17 --json");
  REQUIRE(plain.code == 0);
  CHECK(plain.json()["layers"] == 9);
  CHECK(plain.json()["ir_version"] == 8);
  CHECK(plain.json()["bytes"] == slurp(dir / "f.onnx").size());
  const onnx::ModelProto model = onnx::parse_model(slurp(dir / "f.onnx"), "f.onnx");
  CHECK(model.opset() == 17);
  CHECK(model.metadata.at("dataset") == "synthetic");
  CHECK(model.graph.name == "nin");

  REQUIRE(run(dir,
              "pare quantize --weights r/best.safetensors --quant uniform:W8A8,keep=none "
              "--calib 32 --train-limit 64 --test-limit 50 --out q")
              .code == 0);
  const Result qdq = run(dir,
                         "pare export --weights q/quantized.safetensors --to onnx-qdq --calib 8 "
                         "--out q.onnx --json");
  REQUIRE(qdq.code == 0);
  CHECK(qdq.json()["integer_layers"] == 9);
  CHECK(qdq.json()["added_quantizers"] > 0);
}

TEST_CASE("pare export: what makes no sense is refused, and nothing is written") {
  const TempDir dir;
  CHECK(run(dir, "pare export --out x.onnx").says("--weights is needed"));
  CHECK(run(dir, "pare export --weights r.safetensors").says("--out is needed"));
  CHECK(run(dir, "pare export --weights r.safetensors --out x.onnx --int4")
            .says("--int4 is a matter of --to onnx-qdq"));
  REQUIRE(run(dir, "pare train" + kTiny + "--epochs 1 --out r").code == 0);
  const Result r = run(dir, "pare export --weights r/best.safetensors --to onnx-qdq --out x.onnx");
  CHECK(r.code == 1);
  CHECK(r.says("no layer has quantized weights"));
  CHECK(!fs::exists(dir / "x.onnx"));
}
