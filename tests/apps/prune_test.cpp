#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>

#include "core/safetensors.h"
#include "tests/apps/run.h"

namespace pare::test {
namespace {

/// Trains a tiny network into the folder r.
void train(const TempDir& dir, const std::string& program) {
  const Result r = run(dir, program + kTiny + "--epochs 1 --out r --quiet");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
}

const std::string kPrune = "pare prune --weights r/best.safetensors --test-limit 100 --threads 2 ";

Json pruned(const TempDir& dir, const std::string& flags) {
  const Result r = run(dir, kPrune + flags + " --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  return r.json();
}

TEST_CASE("prune writes a smaller checkpoint that every program loads") {
  TempDir dir;
  train(dir, "pare train");
  const Json result = pruned(dir, "--method l1 --percent 0.5 --out p.safetensors");
  CHECK(result["method"] == "l1");
  CHECK(result["kept"].get<int>() < result["channels"].get<int>());
  CHECK(result["after"]["params"].get<int>() < result["before"]["params"].get<int>());
  CHECK(result["after"]["macs"].get<int>() < result["before"]["macs"].get<int>());
  CHECK(result["after"]["images_per_second"].get<double>() > 0);
  for (const Json& layer : result["layers"]) {
    const int kept = layer["kept"], channels = layer["channels"];
    CHECK(kept == (layer.contains("note") ? channels : channels / 2));
  }

  Result r = run(dir, "pare eval --weights p.safetensors --test-limit 100 --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["top1"] == result["after"]["top1"]);
  r = run(dir, "pare info --weights p.safetensors --json");
  REQUIRE(r.code == 0);
  CHECK(r.json()["params"] == result["after"]["params"]);
  CHECK(r.json()["macs"] == result["after"]["macs"]);
  CHECK_FALSE(safetensors::read(dir / "p.safetensors").metadata.count("test_top1"));

  const std::string small = "--train-limit 80 --test-limit 40 --batch-size 40 --threads 2 --quiet ";
  CHECK(run(dir, "pare train --refine p.safetensors --out t --epochs 1 " + small).code == 0);
  r = run(dir, "wbab --W 2 --A 2 --init t/best.safetensors --out b --epochs 1 " + small);
  CAPTURE(r.err);
  CHECK(r.code == 0);
  r = run(dir, "wqaq --Wbits 4 --Abits 4 --init t/best.safetensors --out q --epochs 1 " + small);
  CAPTURE(r.err);
  CHECK(r.code == 0);
  CHECK(run(dir,
            "pare fold --weights t/best.safetensors --out f.safetensors --test-limit 20 "
            "--quiet")
            .code == 0);
  // Once more, on what is left.
  r = run(dir,
          "pare prune --weights f.safetensors --method l2 --percent 0.5 --out again.safetensors"
          " --test-limit 20 --quiet");
  CAPTURE(r.err);
  CHECK(r.code == 0);
  CHECK(run(dir, "pare eval --weights again.safetensors --test-limit 20 --quiet").code == 0);
}

TEST_CASE("prune: a plan is saved, and applied from its file") {
  TempDir dir;
  train(dir, "pare train");
  const Json made = pruned(dir, "--method random --macs 0.5 --save-plan plan.yaml");
  CHECK(made["after"]["macs"].get<double>() <= 0.5 * made["before"]["macs"].get<double>());
  CHECK(made["out"] == "");
  const Json again = pruned(dir, "--plan plan.yaml --out p.safetensors");
  CHECK(again["method"] == "random");
  CHECK(again["after"]["macs"] == made["after"]["macs"]);
  CHECK(again["after"]["top1"] == made["after"]["top1"]);
  const Result text = run(dir, kPrune + "--plan plan.yaml");
  for (const char* word : {"model.0.conv", "channels of the output", "MACs", "before", "images/s",
                           "nothing written"}) {
    CAPTURE(word);
    CHECK(text.out.find(word) != std::string::npos);
  }
  CHECK(run(dir, kPrune + "--plan plan.yaml --quiet").out.empty());
}

TEST_CASE("prune: targets for bytes and for time") {
  TempDir dir;
  train(dir, "pare train");
  const Json bytes = pruned(dir, "--method l1 --bytes 0.5");
  CHECK(bytes["after"]["bytes_quantized"].get<double>() <=
        0.5 * bytes["before"]["bytes_quantized"].get<double>());
  // Wide enough that fewer channels are less time on any machine.
  REQUIRE(run(dir,
              "pare train --model nin --widths 64,64,64,64,64,64,64,64 --train-limit 20 "
              "--test-limit 20 --batch-size 20 --epochs 1 --threads 1 --force --out r --quiet")
              .code == 0);
  const Json quick = pruned(dir, "--method l1 --latency 0.8 --latency-batch 4");
  CHECK(quick["kept"].get<int>() < quick["channels"].get<int>());
  CHECK(quick["expected_seconds"]["after"].get<double>() <=
        0.8 * quick["expected_seconds"]["before"].get<double>());
}

TEST_CASE("bench infer: the widths of a pruned checkpoint") {
  TempDir dir;
  train(dir, "pare train");
  const Json made = pruned(dir, "--method l1 --percent 0.5 --out p.safetensors");
  const std::string bench = "pare bench infer --batch-size 2 --steps 2 --warmup 1 --threads 1 ";
  const Result r = run(dir, bench + "--weights p.safetensors --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["params"] == made["after"]["params"]);
  CHECK(r.json()["flops_per_image"].get<double>() == 2 * made["after"]["macs"].get<double>());
  CHECK(run(dir, bench + "--weights p.safetensors --model nin_gc").says("--model"));
}

TEST_CASE("prune: every method, by name") {
  TempDir dir;
  train(dir, "pare train");
  const Result r = run(dir, "pare prune --methods --json");
  REQUIRE(r.code == 0);
  const Json listed = r.json();
  int methods = 0;
  for (const Json& m : listed["methods"]) {
    const std::string name = m["name"];
    CAPTURE(name);
    ++methods;
    const Json result = pruned(dir, "--percent 0.25 --images 20 --train-limit 40 --method " + name);
    CHECK(result["kept"].get<int>() < result["channels"].get<int>());
  }
  CHECK(methods >= 10);
}

TEST_CASE("prune: regular widths, and grouped networks keep their groups") {
  TempDir dir;
  const Result trained = run(
      dir,
      "pare train --model nin_gc --widths 32,32,32,64,64,64,64,64 --train-limit 80 --test-limit "
      "40 --batch-size 40 --threads 2 --epochs 1 --out r --quiet");
  CAPTURE(trained.err);
  REQUIRE(trained.code == 0);
  const Json result = pruned(dir,
                             "--percent 0.4 --method l1 --spread global --normal_regular 4 --out "
                             "p.safetensors");
  bool fewer = false;
  for (const Json& layer : result["layers"]) {
    fewer = fewer || layer["kept"] < layer["channels"];
    if (!layer.contains("note") || layer["note"] != "channels of the output") {
      CHECK(layer["kept"].get<int>() % 4 == 0);
    }
  }
  CHECK(fewer);
  CHECK(run(dir, "pare eval --weights p.safetensors --test-limit 20 --quiet").code == 0);
}

TEST_CASE("prune takes out whole blocks") {
  TempDir dir;
  const std::string tiny =
      " --model resnet20 --widths 4,4,4 --train-limit 80 --test-limit 40 --batch-size 40 --threads "
      "2 ";
  REQUIRE(run(dir, "pare train --epochs 1 --out r --quiet" + tiny).code == 0);
  const Json result = pruned(dir, "--blocks 2 --images 40 --out p.safetensors");
  CHECK(result["blocks"].size() == 2);
  CHECK(result["after"]["macs"].get<int>() < result["before"]["macs"].get<int>());
  Result r = run(dir, "pare eval --weights p.safetensors --test-limit 100 --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["top1"] == result["after"]["top1"]);
  r = run(dir, kPrune + "--blocks 9");
  CHECK(r.says("blocks that can be left out, asked for 9"));
  CHECK(run(dir, kPrune + "--blocks 1 --method l1").says("--blocks and --method exclude"));
}

TEST_CASE("gates are trained, tested, resumed and merged") {
  TempDir dir;
  const std::string tiny =
      " --model resnet20 --widths 8,8,8 --train-limit 160 --test-limit 100 --batch-size 40 "
      "--threads 2 --quiet ";
  REQUIRE(run(dir, "pare train --epochs 1 --out f" + tiny).code == 0);
  for (const std::string kind : {"resrep --gate-target 0.6", "l0 --gate-s 3000"}) {
    CAPTURE(kind);
    Result r = run(dir,
                   "pare train --init f/best.safetensors --epochs 3 --steps 9 --force --out r "
                   "--gates " +
                       kind + tiny);
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    REQUIRE(run(dir, "pare train --resume --out r --steps 0 --quiet").code == 0);
    REQUIRE(run(dir, "pare train --init f/best.safetensors --epochs 3 --force --out once --gates " +
                         kind + tiny)
                .code == 0);
    const auto same = safetensors::read(dir / "r/last.safetensors").entries;
    for (const auto& item : safetensors::read(dir / "once/last.safetensors").entries) {
      const std::string& name = item.first;
      CAPTURE(name);
      if (name != "train.state") CHECK(same.at(name).bytes == item.second.bytes);
    }
    r = run(dir, "pare eval --weights r/last.safetensors --test-limit 100 --json");
    REQUIRE(r.code == 0);
    const Json gated = r.json();
    r = run(dir,
            "pare prune --weights r/last.safetensors --test-limit 100 --threads 2 --out "
            "p.safetensors --json");
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    const Json result = r.json();
    CHECK(result["kept"].get<int>() < result["channels"].get<int>());
    CHECK(result["before"]["top1"] == gated["top1"]);
    r = run(dir, "pare eval --weights p.safetensors --test-limit 100 --json");
    REQUIRE(r.code == 0);
    CHECK(r.json()["top1"] == result["after"]["top1"]);
    CHECK(run(dir, "pare prune --weights r/last.safetensors --method l1")
              .says("a model with gates and --method exclude each other"));
    CHECK(run(dir, "pare train --init r/last.safetensors --out x" + tiny)
              .says("holds a network with gates"));
  }
  CHECK(run(dir, "pare train --gate-s 1 --out x" + tiny).says("--gate-s is for --gates l0"));
  CHECK(run(dir, "pare train --gates l0 --quant wbab:W2A2 --out x" + tiny)
            .says("merged before quantizers go in"));
}

TEST_CASE("sparse training leaves zeros, and they stay") {
  TempDir dir;
  const auto zeros = [&](const std::string& flags) {
    const Result r = run(dir, "pare train --epochs 2 --force --json --out r" + kTiny + flags);
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    const int64_t count = r.json()["zero_weights"];
    CHECK(run(dir, "pare eval --weights r/last.safetensors --test-limit 20 --quiet").code == 0);
    return count;
  };
  const auto zeros_of = [&](const std::string& weight) {
    const Tensor w = safetensors::read(dir / "r/last.safetensors").at(weight).tensor();
    return std::count(w.data(), w.data() + w.numel(), 0.0f);
  };
  const int64_t weights = zeros("--sparsity 0.5") * 2;
  CHECK(weights > 1000);
  CHECK(zeros("--sparsity 0.75 --sparse-until 1") > weights / 2);
  CHECK(std::abs(zeros("--sparsity 0.5 --sparse-density erk") - weights / 2) < 20);
  const int64_t small = zeros_of("model.1.conv.weight");
  CHECK(small < 10);  // of 64: Erdős-Rényi-Kernel makes the zeros of the big layers more
  zeros("--sparsity 0.5 --sparse-density uniform");
  CHECK(zeros_of("model.1.conv.weight") == 32);
  const int64_t two_of_four = zeros("--sparse-pattern 2:4");
  CHECK(two_of_four > weights / 3);
  CHECK(two_of_four <= weights / 2);
  CHECK(zeros("--sr --s 0.01 --group-lasso 0.001") < 100);
  const auto says = [&](const std::string& flags, const std::string& text) {
    CAPTURE(flags);
    CHECK(run(dir, "pare train --out x" + kTiny + flags).says(text));
  };
  says("--s 0.1", "--s is the weight of --sr");
  says("--sparsity 0.5 --sparse-pattern 2:4", "exclude each other");
  says("--sparse-pattern 4:2", "expected a pattern such as 2:4");
  says("--sparsity 0.5 --ema 0.9", "--ema averages the zeros");
  says("--sparsity 0.5 --dense conv77", "no layer with weights is called conv77");
  says("--dense conv1", "--dense is for");
}

TEST_CASE("compress writes a small file that is the network it shows") {
  TempDir dir;
  train(dir, "pare train");
  const std::string compress = "pare compress --weights r/best.safetensors --test-limit 100 ";
  Result r = run(dir, compress + "--out c.safetensors --sparsity 0.8 --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  const Json result = r.json();
  CHECK(result["times_smaller"].get<double>() > 2);
  CHECK(result["bytes"]["dense"].get<double>() > result["bytes"]["sparse"].get<double>());
  CHECK(fs::file_size(dir / "c.safetensors") < fs::file_size(dir / "r/best.safetensors"));
  r = run(dir, "pare eval --weights c.safetensors --test-limit 100 --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["top1"] == result["top1_after"]);
  r = run(dir,
          "pare train --init c.safetensors --out t --epochs 1 --train-limit 80 --test-limit 40 "
          "--batch-size 40 --quiet");
  CAPTURE(r.err);
  CHECK(r.code == 0);
  r = run(dir, compress +
                   "--out f.safetensors --sparsity 0.8 --conv-bits 2 --linear-bits 2 "
                   "--epochs 3 --lr 0.003 --batch-size 40 --train-limit 160 --threads 1 --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  const Json trained = r.json();
  CHECK(trained["after"]["loss"] != trained["before"]["loss"]);
  CHECK(trained["bytes"]["nonzeros"] == result["bytes"]["nonzeros"]);
  CHECK(trained["bytes"]["packed"].get<double>() < result["bytes"]["packed"].get<double>());
  CHECK(trained.contains("top1_untrained"));
  r = run(dir, "pare eval --weights f.safetensors --test-limit 100 --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["loss"].get<double>() == doctest::Approx(trained["after"]["loss"].get<double>()));
  CHECK(run(dir, compress + "--out x --lr 0.1").says("--lr is for training"));
  CHECK(run(dir, compress).says("--out is needed"));
  CHECK(run(dir, "pare compress --out x").says("--weights is needed"));
}

TEST_CASE("sensitivity --prune measures each layer") {
  TempDir dir;
  train(dir, "pare train");
  const Result r = run(dir,
                       "pare sensitivity --prune --weights r/best.safetensors --images 20 "
                       "--train-limit 40 --test-limit 20 --percents 25,75 --csv s.csv --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["layers"].size() == 8);
  CHECK(r.json()["layers"][0]["points"][1]["kept"] == 2);
  CHECK(r.says("-25 %"));
  CHECK(slurp(dir / "s.csv").rfind("layer,channels,share,kept,loss,top1\n", 0) == 0);
  CHECK(run(dir, "pare sensitivity --prune").says("--weights is needed"));
}

TEST_CASE("prune refuses what cannot be, and writes nothing") {
  TempDir dir;
  CHECK(run(dir, "pare prune").says("--weights is needed"));
  train(dir, "pare train");
  const auto error = [&](const std::string& flags) {
    const Result r = run(dir, kPrune + "--out p.safetensors " + flags);
    CHECK(r.code == 1);
    CHECK_FALSE(fs::exists(dir / "p.safetensors"));
    return r.err;
  };
  const auto says = [&](const std::string& flags, const std::string& text) {
    const std::string got = error(flags);
    CAPTURE(flags);
    CAPTURE(got);
    CHECK(got.find(text) != std::string::npos);
  };
  says("--percent 1.0", "--percent must be below 1, got 1");
  says("--percent 0.5 --macs 0.5", "--percent and --macs exclude each other");
  says("--plan x.yaml --method l1", "--plan and --method exclude each other");
  says("--method slim", "slim");
  says("--layers model.99:0.5", "no layer is called model.99");
  says("--layers 'model.*:1'", "without 1, got 1");
  says("--macs 0.0001", "out of reach");
  says("--bytes 0.0001", "of the bytes is out of reach");
  says("--latency 0.5 --percent 0.5", "--percent and --latency exclude each other");
  says("--latency-batch 2", "--latency-batch is for --latency");
  says("--of plan.yaml", "plan.yaml");
  says("--method apoz --images 1000 --train-limit 160", "the training set has 160, got 1000");
  std::ofstream(dir / "plan.yaml") << "layers:\n  conv1: {channels: 4, keep: [0]}\n";
  says("--plan plan.yaml", "the plan is of another model");
  std::ofstream(dir / "plan.yaml") << "layers:\n  a: {chanels: 4, keep: [0]}\n";
  says("--plan plan.yaml", "plan.yaml:2: unknown key layers.a.chanels. Did you mean channels?");
}

}  // namespace
}  // namespace pare::test
