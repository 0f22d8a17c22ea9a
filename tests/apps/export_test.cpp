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

TEST_CASE("an ONNX file is a model: test it, quantize it, train it on") {
  const TempDir dir;
  REQUIRE(run(dir, "pare train" + kTiny + "--epochs 1 --out r").code == 0);
  REQUIRE(run(dir, "pare export --weights r/best.safetensors --out f.onnx").code == 0);
  const Json ours =
      run(dir, "pare eval --weights r/best.safetensors --test-limit 100 --json").json();
  const Json file = run(dir, "pare eval --weights f.onnx --test-limit 100 --json").json();
  CHECK(file["top1"] == ours["top1"]);
  REQUIRE(run(dir,
              "pare quantize --weights f.onnx --quant uniform:W8A8,keep=none --calib 32 "
              "--train-limit 64 --test-limit 50 --out q")
              .code == 0);
  REQUIRE(run(dir,
              "pare export --weights q/quantized.safetensors --to onnx-qdq --out q.onnx "
              "--calib 16 --train-limit 64 --test-limit 50")
              .code == 0);
  const Json quantized =
      run(dir, "pare eval --weights q/quantized.safetensors --test-limit 100 --json").json();
  const Json again = run(dir, "pare eval --weights q.onnx --test-limit 100 --json").json();
  CHECK(std::abs(again["top1"].get<double>() - quantized["top1"].get<double>()) <= 5.0);
  const Result tuned = run(dir,
                           "pare train --model f.onnx --train-limit 80 --test-limit 50 "
                           "--batch-size 40 --epochs 1 --lr 0.001 --out t");
  CHECK(tuned.code == 0);
  CHECK(run(dir, "pare eval --weights f.onnx --model nin").says("says itself which model"));
}
