#include <doctest/doctest.h>

#include "tests/apps/run.h"

namespace pare::test {
namespace {

const std::string kTrain =
    "pare train" + kTiny +
    "--quiet --epochs 3 --quant-schedule '0:float;1:uniform:W8A8;2:lsq:W4A4' ";

TEST_CASE("stages: float, 8 bits, 4 bits, each from the one before") {
  TempDir dir;
  Result r = run(dir, kTrain + "--out r --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  const Json whole = r.json();
  REQUIRE(whole["stages"].size() == 3);
  CHECK(whole["stages"][0]["quant"] == "");
  CHECK(whole["stages"][2]["quant"] == "W=lsq:4,A=lsq:4");
  CHECK(whole["best_top1"] == whole["stages"][2]["best_top1"]);
  CHECK(whole["steps"] == 12);
  CHECK(slurp(dir / "r/best.safetensors") == slurp(dir / "r/stage3/best.safetensors"));
  r = run(dir, "pare eval --weights r/best.safetensors --test-limit 100 --json");
  REQUIRE(r.code == 0);
  CHECK(r.json()["quant"] == "W=lsq:4,A=lsq:4");

  // As if it had been stopped within the second stage.
  const std::string bits = slurp(dir / "r/best.safetensors");
  fs::remove_all(dir / "r/stage3");
  fs::remove(dir / "r/stage2/summary.json");
  fs::remove(dir / "r/best.safetensors");
  fs::remove(dir / "r/summary.json");
  r = run(dir, "pare train --resume --out r --quiet");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(slurp(dir / "r/best.safetensors") == bits);
  // The second stage was complete but for its summary: not one step is repeated.
  CHECK(Json::parse(slurp(dir / "r/summary.json"))["steps"] == 12);
}

TEST_CASE("stages: a later one starts where the one before ended") {
  TempDir dir;
  const std::string flags = "pare train" + kTiny + "--quiet --lr 0.000001 ";
  REQUIRE(run(dir, flags + "--epochs 2 --out r --quant-schedule '0:float;1:uniform:W16A16'").code ==
          0);
  // With hardly any learning the second stage evaluates what the first one left.
  const auto top1 = [&](const std::string& file) {
    return Json::parse(slurp(dir / file))["last_loss"].get<double>();
  };
  CHECK(top1("r/stage2/summary.json") ==
        doctest::Approx(top1("r/stage1/summary.json")).epsilon(0.05));
}

TEST_CASE("stages: what makes no sense is refused") {
  TempDir dir;
  const auto refused = [&](const std::string& flags, const std::string& text) {
    const Result r = run(dir, "pare train" + kTiny + "--out r " + flags);
    CAPTURE(flags);
    CAPTURE(r.err);
    CHECK(r.code == 1);
    CHECK(r.says(text));
    CHECK_FALSE(fs::exists(dir / "r"));
  };
  refused("--epochs 4 --quant-schedule '1:float'", "the first scheme begins with epoch 0");
  refused("--epochs 4 --quant-schedule '0:float;6:lsq:W4A4'", "leaves no epoch from 6 to 4");
  refused("--epochs 4 --quant-schedule '0:float;2:float;2:lsq:W4A4'",
          "leaves no epoch from 2 to 2");
  refused("--epochs 4 --quant-schedule '0:lsqq:W4A4'", "lsqq");
  refused("--epochs 4 --quant-schedule 'float'", "expected EPOCH:SCHEME");
  refused("--epochs 4 --quant lsq:W4A4 --quant-schedule '0:float'", "exclude each other");
  refused("--epochs 4 --steps 3 --quant-schedule '0:float'", "--steps counts");
}

}  // namespace
}  // namespace pare::test
