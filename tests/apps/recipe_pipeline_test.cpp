// Recipes from the first training to a file for other programs.

#include <doctest/doctest.h>

#include "core/safetensors.h"
#include "tests/apps/run.h"

namespace pare::test {
namespace {

const std::string kCommon =
    "common: {train-limit: 80, test-limit: 40, batch-size: 40, eval-batch-size: 40, threads: 1}\n"
    "stages:\n";

void write(const TempDir& dir, const std::string& text) {
  std::ofstream(dir / "r.yaml") << kCommon << text;
}

Json done(const TempDir& dir) {
  const Result r = run(dir, "pare recipe r.yaml --out o --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  return r.json();
}

/// A stage's summary, without what depends on the clock.
Json timeless(Json stages) {
  for (Json& s : stages) s.erase("seconds");
  return stages;
}

std::string folder(const Json& stages, size_t i) {
  return fs::path(stages[i]["file"].get<std::string>()).parent_path().string();
}

/// Killed inside of each stage in turn, before its result was noted: what comes out is the same.
void check_resumes(const TempDir& dir, const Json& stages, const std::string& final) {
  const std::string bytes = slurp(dir / final);
  REQUIRE(!bytes.empty());
  for (size_t i = 0; i < stages.size(); ++i) {
    CAPTURE(i);
    fs::remove(dir / (folder(stages, i) + "/result.json"));
    for (size_t later = i + 1; later < stages.size(); ++later) {
      fs::remove_all(dir / folder(stages, later));
    }
    fs::remove(dir / final);
    CHECK(timeless(done(dir)["stages"]) == timeless(stages));
    CHECK(slurp(dir / final) == bytes);
  }
}

TEST_CASE("recipe: slim, prune, refine, quantize while training, fold, export") {
  struct Case {
    std::string model, prune, quant, to;
  };
  const Case cases[] = {
      {"model: nin, widths: [8, 8, 8, 8, 8, 8, 8, 8]", "percent: 0.5", "uniform:W4A4", "onnx-qdq"},
      {"model: nin, widths: [16, 16, 16, 16, 16, 16, 16, 16]", "percent: 0.6, normal_regular: 4",
       "wbab:W3A2", "pare"},
      {"model: nin_gc, widths: [8, 8, 16, 32, 32, 32, 32, 32]", "percent: 0.4", "wbab:W2A2",
       "pare"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.quant);
    const TempDir dir;
    write(dir, "  - train: {" + c.model + ", epochs: 1, sr: true}\n    name: slim\n" +
                   "  - prune: {method: slimming, " + c.prune + "}\n" +
                   "  - train: {lr: 0.01, epochs: 1}\n    name: refine\n" +
                   "  - train: {quant: \"" + c.quant + "\", lr: 0.01, epochs: 1}\n    name: qat\n" +
                   "  - fold: {}\n" + "  - export: {to: " + c.to + "}\n");
    const Json s = done(dir)["stages"];
    REQUIRE(s.size() == 6);
    CHECK(s[1]["macs"].get<int>() < s[0]["macs"].get<int>());
    CHECK(s[2]["params"] == s[1]["params"]);
    CHECK(s[3]["bytes"].get<int>() < s[2]["bytes"].get<int>());
    CHECK(s[4]["params"].get<int>() < s[3]["params"].get<int>());
    CHECK(s[5]["params"] == s[4]["params"]);
    const std::string ending = c.to == "pare" ? "pare" : "onnx", final = "o/final." + ending;
    CHECK(slurp(dir / final) == slurp(dir / ("o/06-export/model." + ending)));
    CHECK(s[5]["bytes"] == fs::file_size(dir / final));
    check_resumes(dir, s, final);
  }
}

TEST_CASE("recipe: the ONNX file of a binary network is read back and tested") {
  const TempDir dir;
  write(dir,
        "  - train: {model: nin, widths: [8, 8, 8, 8, 8, 8, 8, 8], quant: \"wbab:W2A2\", "
        "epochs: 1}\n  - export: {}\n");
  const Json stages = done(dir)["stages"];
  CHECK(stages[1]["top1"] == stages[0]["top1"]);
  const Json report = Json::parse(slurp(dir / "o/02-export/result.json"))["report"];
  CHECK(!report.contains("untested"));
}

TEST_CASE("recipe: teachers are other stages, quantizers need no training, two files come out") {
  const TempDir dir;
  write(dir,
        "  - train: {model: resnet20, widths: [8, 8, 8], epochs: 1}\n    name: big\n"
        "  - distill: {model: resnet20, widths: [4, 4, 4], teacher: big, epochs: 1}\n"
        "    name: small\n    from: none\n"
        "  - prune: {method: l1, macs: 0.7}\n"
        "  - distill: {teacher: small, loss: \"kd:2:0.5\", lr: 0.01, epochs: 1}\n"
        "  - quantize: {quant: \"uniform:W8A8,edges=uniform:8\", sums: true, calib: 40}\n"
        "  - export: {to: pare}\n"
        "  - export: {to: onnx-qdq, calib: 8}\n");
  const Json s = done(dir)["stages"];
  REQUIRE(s.size() == 7);
  CHECK(s[1]["params"].get<int>() < s[0]["params"].get<int>());
  CHECK(s[2]["params"].get<int>() < s[1]["params"].get<int>());
  CHECK(s[4]["bytes"].get<int>() < s[3]["bytes"].get<int>());
  CHECK(fs::exists(dir / "o/06-export/model.pare"));
  const Json plan = Json::parse(slurp(dir / "o/recipe.json"))["stages"];
  CHECK(plan[3]["options"]["teacher"] == "small");
  CHECK_FALSE(plan[1].contains("from"));
  CHECK(plan[6]["from"] == "quantize");
  const Json config = Json::parse(slurp(dir / "o/04-distill/config.json"));
  CHECK(config["options"]["teacher"] == "o/02-small/best.safetensors");
  check_resumes(dir, s, "o/final.onnx");

  // The file that is tested is the one that was written.
  const Result tested = run(dir, "pare eval --weights o/final.onnx --test-limit 40 --json");
  CAPTURE(tested.err);
  REQUIRE(tested.code == 0);
  CHECK(tested.json()["top1"].get<double>() == doctest::Approx(s[6]["top1"].get<double>()));
}

TEST_CASE("recipe: weights to start from are a row of the table, whatever comes first") {
  const TempDir dir;
  REQUIRE(run(dir, "pare train" + kTiny + "--epochs 1 --out t --quiet").code == 0);
  for (const std::string stage : {"quantize: {quant: \"uniform:W8A8\", calib: 40}", "fold: {}",
                                  "export: {}", "compress: {}"}) {
    CAPTURE(stage);
    fs::remove_all(dir / "o");
    std::ofstream(dir / "r.yaml") << "start: t/best.safetensors\n" << kCommon << "  - " << stage;
    const Json s = done(dir)["stages"];
    REQUIRE(s.size() == 2);
    CHECK(s[0]["stage"] == "start");
    CHECK(s[0]["params"].get<int>() > 0);
  }
}

TEST_CASE("recipe: stages that cannot follow one another are refused") {
  const TempDir dir;
  const auto says = [&](const std::string& text, const std::string& error) {
    write(dir, "  - train: {model: nin, epochs: 1}\n" + text);
    const Result r = run(dir, "pare recipe r.yaml --out o");
    CAPTURE(r.err);
    CHECK(r.code == 1);
    CHECK(r.says(error));
    CHECK_FALSE(fs::exists(dir / "o"));
  };
  says("  - distill: {epochs: 1}\n", "stage 2 (distill): teacher is missing");
  says("  - distill: {teacher: trian}\n", "no stage before it and no file is called trian");
  says("  - distill: {teacher: start}\n", "no stage before it and no file is called start");
  says("  - distill: {teacher: ema, cache: c}\n", "--cache is for a teacher from a file");
  says("  - quantize: {}\n", "either --config or --quant says how to quantize");
  says("  - quantize: {quant: \"uniform:W8A8\", plan: true}\n", "unknown key");
  says("  - export: {test: true}\n", "unknown key");
  says("  - export: {int4: true}\n", "--int4 is a matter of --to onnx-qdq");
  says("  - export: {}\n  - fold: {}\n    from: export\n",
       "r.yaml:6: stages[2].from: what export leaves is for other programs");
  says("  - export: {}\n  - distill: {teacher: export}\n", "leaves is for other programs");
  says("  - fold: {}\n    from: none\n", "there are no weights to fold");
  says("  - fold: {}\n    name: none\n", "is not start or none");
}

}  // namespace
}  // namespace pare::test
