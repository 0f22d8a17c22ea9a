#include <doctest/doctest.h>

#include <algorithm>

#include "tests/apps/run.h"

namespace pare::test {
namespace {

const std::string kMeasure =
    "pare sensitivity --weights r/best.safetensors --images 40 --probes 1 --threads 2 ";

/// Trains a tiny network into the folder r and measures it into s.json.
Json measured(const TempDir& dir) {
  Result r = run(dir, "pare train" + kTiny + "--epochs 1 --out r --quiet");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  r = run(dir, kMeasure + "--bits 2,4,8 --out s.json --csv s.csv --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  return r.json();
}

TEST_CASE("sensitivity measures every layer, and allocate makes a scheme of it") {
  TempDir dir;
  const Json s = measured(dir);
  CHECK(s["images"] == 40);
  CHECK(s["scheme"] == "W=uniform:8,A=uniform:8,keep=none");
  REQUIRE(s["layers"].size() == 9);
  CHECK(s["layers"][0]["path"] == "model.0.conv");
  CHECK(s["layers"][0]["weight_bits"].size() == 3);
  CHECK(s["layers"][0]["input_bits"][2]["bits"] == 8);
  CHECK(s["layers"][3]["trace"] != 0);
  CHECK(Json::parse(slurp(dir / "s.json")) == s);
  const std::string csv = slurp(dir / "s.csv");
  CHECK(csv.rfind("layer,side,bits,loss,noise,size,weights,macs,trace\n", 0) == 0);
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 1 + 9 * 6);

  Result r = run(dir, "pare allocate --sensitivity s.json --mean-bits 4 --csv p.csv --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  const Json plan = r.json();
  CHECK(plan["mean_bits"].get<double>() <= 4);
  CHECK(plan["mean_bits"].get<double>() > 2);
  REQUIRE(plan["layers"].size() == 9);
  const std::string table = slurp(dir / "p.csv");
  CHECK(std::count(table.begin(), table.end(), '\n') == 10);

  // Training takes the scheme as it is, and the size is the one foretold.
  const std::string scheme = plan["scheme"];
  REQUIRE(
      run(dir, "pare fold --weights r/best.safetensors --out f.safetensors --test-limit 20 --quiet")
          .code == 0);
  r = run(dir,
          "pare train --model nin --init f.safetensors --train-limit 80 --test-limit 20 "
          "--batch-size 40 --threads 2 --epochs 1 --out q --json --quant '" +
              scheme + "'");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["quant"] == scheme);
  CHECK(r.json()["bytes_quantized"] == plan["bytes"]);
}

TEST_CASE("allocate keeps every budget, and says which there are") {
  TempDir dir;
  const Json s = measured(dir);
  const std::string allocate = "pare allocate --sensitivity s.json ";
  double most = 0, bytes = s["other_size"].get<double>() / 8;  // with 8 bits everywhere
  for (const Json& layer : s["layers"]) {
    most += 64 * layer["macs"].get<double>();
    bytes += layer["weight_bits"][2]["size"].get<double>() / 8;
  }
  for (const double part : {0.5, 0.8}) {
    Result r = run(dir, str(allocate, "--json --bit-ops ", part * most / 1e9));
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    CHECK(r.json()["bit_ops"].get<double>() <= part * most);
    r = run(dir, str(allocate, "--json --loss foretold --size ", part * bytes / 1e3));
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    CHECK(r.json()["bytes"].get<double>() <= part * bytes);
  }
  const Result text = run(dir, allocate + "--mean-bits 3");
  CHECK(text.out.find("scheme     W=uniform:") != std::string::npos);
  CHECK(text.out.find("3 bits per weight") != std::string::npos);
  CHECK(run(dir, allocate + "--mean-bits 3 --quiet").out.empty());

  CHECK(run(dir, allocate).says("one budget is needed"));
  CHECK(run(dir, allocate + "--size 3 --mean-bits 4").says("one budget is needed"));
  CHECK(run(dir, allocate + "--mean-bits 1").says("the least possible is"));
  CHECK(run(dir, "pare allocate --mean-bits 4").says("--sensitivity is needed"));
  CHECK(run(dir, "pare allocate --mean-bits 4 --sensitivity r/summary.json")
            .says("is no result of pare sensitivity"));
  const Result none = run(dir, "pare allocate --mean-bits 4 --sensitivity none.json");
  CHECK(none.code == 1);
  CHECK(none.says("none.json"));
}

TEST_CASE("sensitivity says what is wrong") {
  TempDir dir;
  CHECK(run(dir, "pare sensitivity").says("--weights is needed"));
  REQUIRE(run(dir, "wqaq --Wbits 4 --Abits 4" + kTiny + "--epochs 1 --out r --quiet").code == 0);
  CHECK(run(dir, kMeasure).says("holds a quantized model"));
  REQUIRE(run(dir, "pare train" + kTiny + "--epochs 1 --out r --force --quiet").code == 0);
  CHECK(run(dir, kMeasure + "--quant wbab:W2A2").says("binary has no bits to choose"));
  CHECK(run(dir, kMeasure + "--bits 1").says("takes 2 to 16 bits"));
  CHECK(run(dir, kMeasure + "--out no/such/s.json").says("there is no folder no/such"));
}

}  // namespace
}  // namespace pare::test
