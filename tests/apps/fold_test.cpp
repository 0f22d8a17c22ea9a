#include <doctest/doctest.h>

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

bool holds(const TempDir& dir, const std::string& file, const std::string& entry) {
  return safetensors::read(dir / file).has(entry);
}

TEST_CASE("fold writes a checkpoint that is the same network without batch norm") {
  TempDir dir;
  train(dir, "pare train");
  const std::string fold = "pare fold --weights r/best.safetensors --out folded.safetensors";
  Result r = run(dir, fold + " --test-limit 100 --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  const Json folded = r.json();
  CHECK(folded["folded"] == 9);
  CHECK(folded["images"] == 100);
  CHECK(folded["before"]["batch_norms"] == 9);
  CHECK(folded["after"]["batch_norms"] == 0);
  CHECK(folded["before"]["top1"] == folded["after"]["top1"]);
  CHECK(folded["same_class"] == 100);
  CHECK(folded["max_difference"].get<double>() < 1e-4 * folded["max_logit"].get<double>());
  CHECK(folded["after"]["images_per_second"].get<double>() > 0);
  CHECK(folded["batch_norms"][0]["into"] == "model.0.conv");
  CHECK(folded["batch_norms"][0]["rule"] == "scale");
  CHECK(holds(dir, "r/best.safetensors", "model.0.bn.weight"));
  CHECK_FALSE(holds(dir, "folded.safetensors", "model.0.bn.weight"));

  r = run(dir, "pare eval --weights folded.safetensors --test-limit 100 --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["top1"] == folded["before"]["top1"]);
  CHECK(r.json()["loss"].get<double>() ==
        doctest::Approx(folded["before"]["loss"].get<double>()).epsilon(1e-4));

  r = run(dir, "pare info --weights folded.safetensors");
  CHECK(r.code == 0);
  CHECK(r.out.find("Conv2d(8, 8") != std::string::npos);
  CHECK(r.out.find("BatchNorm2d") == std::string::npos);

  const Result text = run(dir, fold + " --test-limit 20");
  for (const char* word :
       {"before", "after", "images/s", "top-1", "batch norms", "the same class"}) {
    CAPTURE(word);
    CHECK(text.out.find(word) != std::string::npos);
  }
  CHECK(run(dir, fold + " --quiet --test-limit 20").out.empty());
}

TEST_CASE("fold keeps a binary network binary") {
  TempDir dir;
  train(dir, "wbab --order cbpa");
  Result r = run(dir,
                 "pare fold --weights r/last.safetensors --out f.safetensors --test-limit 60 "
                 "--json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  const Json folded = r.json();
  CHECK(folded["folded"] == 9);
  for (int i = 0; i < 8; ++i) CHECK(folded["batch_norms"][i]["rule"] == "sign");
  CHECK(folded["batch_norms"][8]["rule"] == "scale");
  CHECK(folded["before"]["top1"] == folded["after"]["top1"]);
  CHECK(folded["after"]["bytes_quantized"] < folded["before"]["bytes_quantized"]);
  r = run(dir, "pare eval --weights f.safetensors --test-limit 60 --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["top1"] == folded["after"]["top1"]);
  CHECK(r.json()["quant"] == folded["quant"]);
}

TEST_CASE("a folded checkpoint can be trained on, and the run be resumed") {
  TempDir dir;
  train(dir, "pare train");
  REQUIRE(run(dir,
              "pare fold --weights r/best.safetensors --out f.safetensors --test-limit 20 -"
              "-quiet")
              .code == 0);
  const std::string on =
      "pare train --refine f.safetensors --out on --train-limit 160 --test-limit "
      "100 --batch-size 40 --threads 2 --lr 0.001 ";
  Result r = run(dir, on + "--epochs 2 --steps 3 --quiet");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  r = run(dir, "pare train --resume --out on --steps 0 --epochs 2 --quiet");
  CAPTURE(r.err);
  CHECK(r.code == 0);
  CHECK_FALSE(holds(dir, "on/last.safetensors", "model.0.bn.weight"));
  CHECK(run(dir, "pare eval --weights on/last.safetensors --test-limit 20 --quiet").code == 0);
  // Quantizers go into the folded layers.
  r = run(dir,
          "wqaq --Wbits 8 --Abits 8 --model nin --init f.safetensors --out q --epochs 1 "
          "--train-limit 80 --test-limit 20 --batch-size 40 --threads 2 --quiet");
  CAPTURE(r.err);
  CHECK(r.code == 0);
  CHECK_FALSE(holds(dir, "q/last.safetensors", "model.0.bn.weight"));
}

TEST_CASE("fold says what is wrong and writes nothing") {
  TempDir dir;
  CHECK(run(dir, "pare fold").says("--weights is needed"));
  train(dir, "pare train");
  CHECK(run(dir, "pare fold --weights r/best.safetensors").says("--out is needed"));
  const std::string once = "pare fold --test-limit 20 --quiet --weights ";
  REQUIRE(run(dir, once + "r/best.safetensors --out f.safetensors").code == 0);
  const Result again = run(dir, once + "f.safetensors --out g.safetensors");
  CHECK(again.code == 1);
  CHECK(again.says("no batch norm can be folded"));
  CHECK_FALSE(fs::exists(dir / "g.safetensors"));
  CHECK(run(dir, once + "r/best.safetensors --out no/such/folder/f.safetensors").code == 1);
  CHECK(run(dir, once + "r/none.safetensors --out g.safetensors").code == 1);
}

TEST_CASE("a checkpoint whose changes fit no layer is refused") {
  TempDir dir;
  train(dir, "pare train");
  REQUIRE(run(dir,
              "pare fold --test-limit 20 --quiet --weights r/best.safetensors --out "
              "f.safetensors")
              .code == 0);
  safetensors::File file = safetensors::read(dir / "f.safetensors");
  const std::string card = file.metadata.at("pare");
  const auto with = [&](const std::string& what, const std::string& by) {
    std::string changed = card;
    const size_t at = changed.find(what);
    REQUIRE(at != std::string::npos);
    changed.replace(at, what.size(), by);
    file.metadata["pare"] = changed;
    safetensors::write(dir / "x.safetensors", file);
    const Result r = run(dir, "pare eval --weights x.safetensors --test-limit 20");
    CHECK(r.code == 1);
    return r.err;
  };
  const std::string bn = "\"model.0.bn\":\"removed\"";
  CHECK(with(bn, "\"model.77.bn\":\"removed\"").find("the model has no layer model.77.bn") !=
        std::string::npos);
  CHECK(with(bn, "\"model.0.bn\":{\"depth\":3}").find("is not understood") != std::string::npos);
  CHECK(with(bn, "\"model.0.bn\":7").find("is not understood") != std::string::npos);
  CHECK(with(bn, "\"model.0.bn\":{\"out\":\"x\"}").find("damaged") != std::string::npos);
}

}  // namespace
}  // namespace pare::test
