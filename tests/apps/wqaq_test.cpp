#include <doctest/doctest.h>

#include "tests/apps/run.h"

using namespace pare::test;

namespace {

const std::string kData =
    " --train-limit 160 --test-limit 100 --batch-size 40 --calib 80 --threads 2"
    " --quiet --json ";

/// A float model in `dir`/float.
void train_float(const TempDir& dir) {
  REQUIRE(run(dir, "pare train" + kTiny + "--epochs 1 --out float --quiet").code == 0);
}

}  // namespace

TEST_CASE("wqaq: every method trains from float weights") {
  TempDir dir;
  train_float(dir);
  const std::string start = "--init float/best.safetensors --epochs 1" + kData;
  const auto quant = [&](const std::string& flags, const std::string& out) {
    const Result r = run(dir, "wqaq " + flags + " " + start + "--out " + out);
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    return r.json()["quant"].get<std::string>();
  };
  CHECK(quant("", "dorefa") == "W=dorefa:8,A=dorefa:8,keep=first,form=micronet");
  CHECK(quant("--method lsq --Wbits 2 --Abits 3", "lsq") == "W=lsq:2,A=lsq:3,edges=lsq:8");
  CHECK(quant("--method lsq+ --Wbits 4 --Abits 4 --edge-bits 32", "lsq+") == "W=lsq+:4,A=lsq+:4");
  CHECK(quant("--method pact --Wbits 4 --Abits 4", "pact") == "W=dorefa:4,A=pact:4,edges=lsq:8");
  CHECK(quant("--method uniform --Abits 32", "uniform") == "W=uniform:8,A=float,edges=lsq:8");
  CHECK(quant("--method iao --q_type 1 --q_level 1 --weight_observer 1 --bn_fuse", "iao") ==
        "W=iao:8,A=iao:8,keep=none,bn=fused,scheme=affine,per=tensor,range=average");
  CHECK(quant("--method iao --bn_fuse_calib", "corrected") ==
        "W=iao:8,A=iao:8,keep=none,bn=corrected");
  // What was learned with batch norm folded in is tested like any other checkpoint.
  const Result r =
      run(dir, "pare eval --weights corrected/best.safetensors --test-limit 100 --json");
  CAPTURE(r.err);
  CHECK(r.code == 0);
  CHECK(r.json()["quant"] == "W=iao:8,A=iao:8,keep=none,bn=corrected");
}

TEST_CASE("wqaq: quantized without training, then fine-tuned with its ranges frozen") {
  TempDir dir;
  train_float(dir);
  Result r = run(dir, "wqaq --method iao --ptq --percentile 0.999 --init float/best.safetensors" +
                          kData + "--out ptq");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  const Json ptq = r.json();
  CHECK(ptq["quant"] == "W=iao:8,A=iao:8,keep=none,a_range=percentile,percentile=0.999");
  CHECK(ptq["steps"] == 0);
  r = run(dir, "pare eval --weights ptq/best.safetensors --test-limit 100 --quiet --json");
  REQUIRE(r.code == 0);
  CHECK(r.json()["top1"] == ptq["best_top1"]);

  r = run(dir, "wqaq --qaft --refine ptq/best.safetensors --epochs 1" + kData + "--out qaft");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["quant"] == ptq["quant"]);
  const Json config = Json::parse(slurp(dir / "qaft/config.json"));
  CHECK(config["options"]["lr"].get<double>() == doctest::Approx(1e-5));
}

TEST_CASE("wqaq: an interrupted run with learned steps goes on to the same bits") {
  TempDir dir;
  const std::string flags = "wqaq --method lsq --Wbits 4 --Abits 4" + kTiny + "--epochs 2 --quiet ";
  REQUIRE(run(dir, flags + "--out whole").code == 0);
  REQUIRE(run(dir, flags + "--steps 3 --out parts").code == 0);
  const Result r = run(dir, "wqaq --resume --quiet --out parts");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  const Json whole = Json::parse(slurp(dir / "whole/summary.json"));
  const Json parts = Json::parse(slurp(dir / "parts/summary.json"));
  CHECK(whole["last_loss"] == parts["last_loss"]);
}

TEST_CASE("wqaq: flags that would have no effect are refused") {
  TempDir dir;
  const auto refused = [&](const std::string& flags, const std::string& words) {
    const Result r = run(dir, "wqaq " + flags + " --out r");
    CAPTURE(flags);
    CAPTURE(r.err);
    CHECK(r.code == 1);
    CHECK(r.says(words));
    CHECK_FALSE(fs::exists(dir / "r"));
  };
  refused("--method lsqq", "expected one of");
  refused("--method lsq --q_type 1", "--q_type is for --method iao");
  refused("--bn_fuse", "--bn_fuse is for --method iao, got dorefa");
  refused("--method iao --edge-bits 8", "every layer alike");
  refused("--method lsq --ptq --init f", "iao or uniform");
  refused("--method iao --ptq", "--ptq needs --init");
  refused("--qaft", "--qaft needs --refine");
  refused("--method iao --ptq --qaft --init f --refine g", "exclude each other");
  refused("--method iao --bn_fuse --bn_fuse_calib", "exclude each other");
  refused("--method iao --percentile 0.9", "--percentile is for --ptq");
  refused("--method iao --ptq --init f --q_type 1 --percentile 0.9", "--q_type 0");
  const Result r = run(dir, "pare train --calib 8 --out r");
  CHECK(r.says("--calib is for quantizers"));
}
