#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>

#include "tests/apps/run.h"

namespace pare::test {
namespace {

TEST_CASE("--help and --version answer and succeed") {
  TempDir dir;
  for (const char* command :
       {"wbab", "wqaq", "pare train", "pare eval", "pare info", "pare fold", "pare quantize",
        "pare compare", "pare sensitivity", "pare allocate"}) {
    CAPTURE(command);
    const Result help = run(dir, str(command, " --help"));
    CHECK(help.code == 0);
    CHECK(help.err.empty());
    CHECK(help.out.find("--json") != std::string::npos);
    CHECK(run(dir, str(command, " --version")).out.rfind("pare 0.", 0) == 0);
  }
  const std::string help = run(dir, "wbab --help").out;
  CHECK(help.find("--W N") != std::string::npos);
  CHECK(help.find("(default: 0.01)") != std::string::npos);
  CHECK(help.find("(default: nin_gc)") != std::string::npos);
  CHECK(run(dir, "pare --help").code == 0);
  CHECK(run(dir, "pare").code == 1);
}

TEST_CASE("eval rebuilds the model from the checkpoint alone") {
  TempDir dir;
  Result r = run(dir, "wbab --W 3 --A 3" + kTiny + "--epochs 1 --out r --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  const Json trained = r.json();
  r = run(dir,
          "pare eval --weights r/last.safetensors --test-limit 100 --eval-batch-size 30 --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  const Json tested = r.json();
  CHECK(tested["top1"] == trained["last_top1"]);
  CHECK(tested["top5"] == trained["last_top5"]);
  CHECK(tested["loss"].get<double>() ==
        doctest::Approx(trained["last_loss"].get<double>()).epsilon(1e-5));
  CHECK(tested["images"] == 100);
  CHECK(tested["quant"] == trained["quant"]);

  r = run(dir, "pare eval --weights r/best.safetensors --test-limit 100");
  CHECK(r.code == 0);
  CHECK(r.out.find("top-1 ") != std::string::npos);
}

TEST_CASE("eval of a plain weight file needs --model") {
  TempDir dir;
  REQUIRE(run(dir, "pare train" + kTiny + "--epochs 1 --out r --quiet").code == 0);
  CHECK(run(dir, "pare eval").says("--weights is needed"));
  const char* weights = std::getenv("PARE_WEIGHTS");
  const std::string file =
      str(weights ? weights : "../shared/data/weights", "/resnet20-cifar10.safetensors");
  if (!fs::exists(file)) return;  // published weights are not part of the sources
  const std::string path = fs::absolute(file).string();
  CHECK(run(dir, "pare eval --weights " + path).says("does not say which model it holds"));
  CHECK(run(dir, "pare eval --model resnet56 --shortcut A --weights " + path).code == 1);
  CHECK(
      run(dir, "pare eval --model resnet20 --shortcut A --quiet --test-limit 10 --weights " + path)
          .code == 0);
}

TEST_CASE("info describes a model, a checkpoint and the build") {
  TempDir dir;
  Result r = run(dir, "pare info --model nin --quant wbab:W2A2 --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  const Json nin = r.json();
  CHECK(nin["params"] == 969822);
  CHECK(nin["bytes_quantized"].get<double>() < 0.1 * nin["bytes_fp32"].get<double>());
  CHECK(nin["layers"].size() > 9);

  REQUIRE(run(dir, "wbab" + kTiny + "--epochs 1 --out r --quiet").code == 0);
  r = run(dir, "pare info --weights r/best.safetensors --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["params"] == Json::parse(slurp(dir / "r/summary.json"))["params"]);
  CHECK(run(dir, "pare info --weights r/best.safetensors").out.find("nin") != std::string::npos);

  r = run(dir, "pare info --isa --json", "PARE_ISA=portable");
  CHECK(r.json()["active"] == "portable");
  CHECK(r.json()["supported"][0] == "portable");
  CHECK(run(dir, "pare info").out.find("resnet20") != std::string::npos);
  CHECK(run(dir, "pare info --quant-help").out.find("wbab:W2A2") != std::string::npos);
}

TEST_CASE("compare puts runs side by side") {
  TempDir dir;
  REQUIRE(run(dir, "pare train" + kTiny + "--epochs 1 --out a --quiet").code == 0);
  REQUIRE(run(dir, "wbab" + kTiny + "--epochs 1 --out b --quiet").code == 0);
  const Result r = run(dir, "pare compare a b");
  CHECK(r.code == 0);
  CHECK(std::count(r.out.begin(), r.out.end(), '\n') == 3);
  const Json json = run(dir, "pare compare a b --json").json();
  REQUIRE(json["runs"].size() == 2);
  CHECK(json["runs"][1]["bytes_quantized"] < json["runs"][0]["bytes_quantized"]);
  CHECK(run(dir, "pare compare").says("no run folder is given"));
  CHECK(run(dir, "pare compare c").says("c is no run folder"));
}

TEST_CASE("output that is not a terminal is plain lines, and --quiet is silent") {
  TempDir dir;
  const Result r = run(dir, "wbab" + kTiny + "--epochs 2 --out r");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.out.find('\r') == std::string::npos);
  CHECK(r.out.find("\x1b") == std::string::npos);
  CHECK(r.out.find("1/2") != std::string::npos);
  CHECK(r.out.find("2/2") != std::string::npos);
  CHECK(r.out.find("r/best.safetensors") != std::string::npos);
  CHECK(r.out.find("synthetic") != std::string::npos);
  const Result quiet = run(dir, "wbab" + kTiny + "--epochs 1 --out q --quiet");
  CHECK(quiet.out.empty());
  CHECK(quiet.err.empty());
}

}  // namespace
}  // namespace pare::test
