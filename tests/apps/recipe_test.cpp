#include <doctest/doctest.h>

#include "core/safetensors.h"
#include "tests/apps/run.h"
#include "tests/apps/weights.h"

namespace pare::test {
namespace {

/// All that a tiny recipe's stages have in common.
const std::string kCommon =
    "common: {train-limit: 80, test-limit: 40, batch-size: 40, eval-batch-size: 40, threads: 1}\n";
const std::string kTrain = "  - train: {model: nin, widths: [8, 8, 8, 8, 8, 8, 8, 8], epochs: 1}\n";
const std::string kAll = kCommon + "stages:\n" + kTrain +
                         "    name: slim\n"
                         "  - prune: {method: l1, percent: 0.5}\n"
                         "  - train: {epochs: 2, lr: 0.01}\n"
                         "    name: refine\n"
                         "  - train: {quant: \"wbab:W2A2\", epochs: 1}\n"
                         "  - fold: {}\n"
                         "  - compress: {conv-bits: 4}\n"
                         "    from: refine\n";

void write(const TempDir& dir, const std::string& text) { std::ofstream(dir / "r.yaml") << text; }

Json done(const TempDir& dir, const std::string& flags = {}) {
  const Result r = run(dir, "pare recipe r.yaml --out o --json " + flags);
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  return r.json();
}

std::string refused(const TempDir& dir, const std::string& flags = "--out o") {
  const Result r = run(dir, "pare recipe r.yaml " + flags);
  CHECK(r.code == 1);
  return r.err;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("recipe: each stage works on what the one before left") {
  TempDir dir;
  write(dir, kAll);
  const Json all = done(dir);
  const Json& s = all["stages"];
  REQUIRE(s.size() == 6);
  CHECK(s[0]["stage"] == "slim");
  CHECK(s[3]["stage"] == "train");
  CHECK(s[1]["params"].get<int>() < s[0]["params"].get<int>());
  CHECK(s[1]["macs"].get<int>() < s[0]["macs"].get<int>());
  CHECK(s[2]["params"] == s[1]["params"]);
  CHECK(s[3]["bytes"].get<int>() < s[2]["bytes"].get<int>());    // one bit
  CHECK(s[4]["params"].get<int>() < s[3]["params"].get<int>());  // no batch norm
  CHECK(s[5]["params"] == s[2]["params"]);                       // from refine
  CHECK(s[5]["bytes"].get<int>() < s[2]["bytes"].get<int>());
  CHECK(slurp(dir / "o/final.safetensors") == slurp(dir / "o/06-compress/compressed.safetensors"));
  for (const Json& stage : s) {
    const std::string file = stage["file"];
    const Result r = run(dir, "pare eval --test-limit 40 --json --weights " + file);
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    CHECK(r.json()["top1"].get<double>() == doctest::Approx(stage["top1"].get<double>()));
  }
  CHECK(Json::parse(slurp(dir / "o/summary.json"))["stages"] == s);
}

TEST_CASE("recipe: what is done is not done again, what is missing is, to the bit") {
  TempDir dir;
  write(dir, kAll);
  const Json first = done(dir);
  const auto when = fs::last_write_time(dir / "o/03-refine/best.safetensors");
  Result r = run(dir, "pare recipe r.yaml --out o");
  CHECK(r.code == 0);
  CHECK(has(r.out, "stage 6 of 6: compress: done before"));
  CHECK(fs::last_write_time(dir / "o/03-refine/best.safetensors") == when);

  // As if the program had been killed at the end of the second training.
  const std::string last = slurp(dir / "o/final.safetensors");
  for (const char* gone : {"04-train", "05-fold", "06-compress", "final.safetensors"}) {
    fs::remove_all(dir / str("o/", gone));
  }
  fs::remove(dir / "o/03-refine/result.json");
  const Json again = done(dir);
  CHECK(slurp(dir / "o/final.safetensors") == last);
  CHECK(again["stages"][2]["top1"] == first["stages"][2]["top1"]);
  CHECK(Json::parse(slurp(dir / "o/03-refine/summary.json"))["steps"] == 4);  // none twice

  // One more stage is only one more.
  write(dir, kAll + "  - fold: {}\n    from: refine\n");
  CHECK(done(dir)["stages"].size() == 7);
  CHECK(fs::last_write_time(dir / "o/01-slim/best.safetensors") < when);
}

TEST_CASE("recipe: an interrupted training goes on where it was") {
  TempDir dir;
  const std::string text =
      kCommon + "stages:\n" + kTrain + "  - train: {epochs: 40, save-every: 1, lr: 0.01}\n";
  write(dir, text);
  const std::string once = str("pare recipe r.yaml --out once --quiet");
  REQUIRE(run(dir, once).code == 0);
  // Interrupted as soon as the second training has saved something.
  std::ofstream(dir / "stop.sh") << PARE_BIN << "/pare recipe r.yaml --out o >log.txt 2>err.txt &\n"
                                 << "p=$!\n"
                                 << "while kill -0 $p && ! test -s o/02-train-2/metrics.jsonl; do "
                                 << "sleep 0.01; done\n"
                                 << "kill -INT $p; wait $p\n";
  CHECK(WEXITSTATUS(std::system(str("cd '", dir.path.string(), "' && sh stop.sh").c_str())) == 130);
  CHECK(has(slurp(dir / "err.txt"), "continue with\n  pare recipe r.yaml --out o"));
  REQUIRE(fs::exists(dir / "o/02-train-2/last.safetensors"));
  CHECK_FALSE(fs::exists(dir / "o/final.safetensors"));
  const Result r = run(dir, "pare recipe r.yaml --out o --quiet");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  check_equal_weights(dir / "o/final.safetensors", dir / "once/final.safetensors");
}

TEST_CASE("recipe: a changed stage is refused, or done again with all that follows") {
  TempDir dir;
  const auto recipe = [](const std::string& percent, const std::string& rest) {
    return kCommon + "stages:\n" + kTrain + "  - prune: {method: l1, percent: " + percent + "}\n" +
           rest;
  };
  write(dir, recipe("0.5", "  - fold: {}\n"));
  const Json before = done(dir);
  write(dir, recipe("0.25", "  - fold: {}\n"));
  CHECK(has(refused(dir), "stage 2 (prune) was done with percent 0.5, now it is 0.25"));
  CHECK(slurp(dir / "o/summary.json") != "");  // nothing is lost
  const Json after = done(dir, "--redo");
  CHECK(after["stages"][0]["seconds"] == before["stages"][0]["seconds"]);
  CHECK(after["stages"][1]["params"].get<int>() > before["stages"][1]["params"].get<int>());
  CHECK(after["stages"][2]["params"].get<int>() > before["stages"][2]["params"].get<int>());

  write(dir, recipe("0.25", ""));
  CHECK(has(refused(dir), "stage 3 (fold) is not in the recipe"));
  write(dir, recipe("0.25", "  - compress: {}\n"));
  CHECK(has(refused(dir), "stage 3 (fold) is now compress"));
  write(dir, recipe("0.25", "  - fold: {}\n    from: train\n"));
  CHECK(has(refused(dir), "stage 3 (fold) started from prune, now from train"));
  write(dir, recipe("0.25", "  - fold: {}\n"));
  fs::remove_all(dir / "o/02-prune");
  CHECK(has(refused(dir), "fold is done, but not prune before it"));
  done(dir, "--redo");
  std::ofstream(dir / "x") << "x";
  CHECK(has(refused(dir, "--out ."), "is not empty, and holds no recipe"));
}

TEST_CASE("recipe: pruning in steps reaches what one step does, a part at a time") {
  TempDir dir;
  write(dir, kCommon + "stages:\n" + kTrain +
                 "  - prune: {method: l1, spread: global, macs: 0.4}\n"
                 "    iterations: 3\n"
                 "    refine: {epochs: 1, lr: 0.01}\n");
  const Json all = done(dir);
  REQUIRE(all["stages"].size() == 7);
  const double full = all["stages"][0]["macs"];
  double last = full;
  // 1 - 0.6 (1 - (1 - i/3)^3)
  struct Step {
    int stage;
    double left;
  };
  for (const Step& s : {Step{1, 0.5778}, Step{3, 0.4223}, Step{5, 0.4}}) {
    CAPTURE(s.stage);
    const double macs = all["stages"][s.stage]["macs"];
    CHECK(macs <= s.left * full);
    CHECK(macs <= last);
    CHECK(all["stages"][s.stage + 1]["macs"] == macs);
    last = macs;
  }
  CHECK(last > 0.3 * full);
  CHECK(all["stages"][6]["stage"] == "prune-3-refine");

  // By hand it is the same.
  const std::string by_hand =
      "pare prune --weights o/05-prune-2-refine/best.safetensors --method l1 --spread global "
      "--macs 0.4 --test-limit 40 --json";
  Result r = run(dir, by_hand + " --of o/01-train/best.safetensors");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["after"]["macs"] == all["stages"][5]["macs"]);
  r = run(dir, by_hand);  // of what is left
  REQUIRE(r.code == 0);
  CHECK(r.json()["after"]["macs"].get<double>() < 0.25 * full);
}

TEST_CASE("recipe: weights to start from, of a file that does not say what it is") {
  TempDir dir;
  const std::string model = "model: resnet20, widths: [4, 4, 4], dataset: synthetic";
  REQUIRE(run(dir,
              "pare train --model resnet20 --widths 4,4,4 --train-limit 80 --test-limit 40 "
              "--batch-size 40 --epochs 1 --out t --quiet")
              .code == 0);
  safetensors::File file = safetensors::read(dir / "t/best.safetensors");
  file.metadata.clear();
  safetensors::write(dir / "w.safetensors", file);
  write(dir, "start: w.safetensors\ncommon: {" + model +
                 ", train-limit: 80, test-limit: 40, threads: 1}\nstages:\n"
                 "  - prune: {method: l1, percent: 0.5}\n"
                 "    iterations: 2\n"
                 "    refine: {epochs: 1}\n");
  const Json all = done(dir);
  REQUIRE(all["stages"].size() == 5);
  CHECK(all["stages"][0]["stage"] == "start");
  CHECK(all["stages"][0]["file"] == "w.safetensors");
  CHECK(all["stages"][3]["params"].get<int>() < all["stages"][1]["params"].get<int>());
  const Json again = done(dir, "--start ./w.safetensors");  // the same file: nothing to do
  CHECK(again["stages"][4] == all["stages"][4]);
}

TEST_CASE("recipe: what cannot be is refused with its line, before anything is done") {
  TempDir dir;
  const auto says = [&](const std::string& text, const std::string& error) {
    write(dir, text);
    const std::string got = refused(dir);
    CAPTURE(text);
    CAPTURE(got);
    CHECK(has(got, error));
    CHECK_FALSE(fs::exists(dir / "o"));
  };
  const std::string stages = "stages:\n" + kTrain;
  says("stage: []\n", "r.yaml:1: unknown key stage. Did you mean stages?");
  says("stages: []\n", "there is no stage");
  says(stages + "  - prun: {}\n", "r.yaml:3: unknown key stages[1].prun. Did you mean prune?");
  says(stages + "  - prune: {percnt: 0.5}\n",
       "r.yaml:3: unknown key stages[1].prune.percnt. Did you mean percent?");
  says("common: {epoch: 3}\n" + stages, "unknown key common.epoch. Did you mean epochs?");
  says(stages + "  - train: {lr: -1}\n",
       "r.yaml:3: stages[1].train.lr: got '-1', expected a number above 0");
  says(stages + "  - prune: {percent: 1.0}\n", "stage 2 (prune): --percent must be below 1, got 1");
  says(stages + "  - prune: {percent: 0.5, macs: 0.5}\n", "exclude each other");
  says(stages + "  - prune: {}\n    fold: {}\n", "is both prune and fold");
  says(stages + "  - name: a\n", "names no command");
  says(stages + "  - fold: {}\n    from: nowhere\n", "expected one of none, start, train");
  says(stages + "  - fold: {}\n    name: a/b\n", "a name is made of letters");
  says(stages + "    name: a\n  - fold: {}\n    name: a\n", "the name a is taken");
  says(stages + "  - fold: {}\n    iterations: 2\n", "is for stages that prune in steps");
  says(stages + "  - prune: {blocks: 1}\n    iterations: 2\n    refine: {}\n",
       "cannot be done in steps");
  says(stages + "  - prune: {}\n    iterations: 2\n", "the key refine is missing");
  says("stages:\n  - prune: {}\n", "there are no weights to prune");
  says(stages + "  - train: {out: x}\n", "unknown key stages[1].train.out");
  write(dir, stages);
  const Result checked = run(dir, "pare recipe r.yaml --json");
  CHECK(checked.code == 0);
  CHECK(checked.json()["stages"][0]["options"]["epochs"] == 1);
  CHECK(run(dir, "pare recipe").says("expected one recipe file, got 0"));
}

TEST_CASE("recipe: those that come with the programs can be run") {
  TempDir dir;
  int count = 0;
  for (const fs::directory_entry& file : fs::directory_iterator("apps/recipes")) {
    std::string text = slurp(file.path());
    const std::string images = "train-limit: 2000, test-limit: 500",
                      fewer = "train-limit: 150, test-limit: 50";
    const size_t at = text.find(images);
    REQUIRE(at != std::string::npos);
    write(dir, text.replace(at, images.size(), fewer));
    const std::string out = str("o", ++count);
    const Result r = run(dir, "pare recipe r.yaml --threads 1 --json --out " + out);
    CAPTURE(file.path());
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    CHECK(r.json()["stages"].size() >= 5);
    const std::string final = r.json()["stages"].back()["file"];
    const std::string ending = fs::path(final).extension().string();
    CHECK(slurp(dir / final) == slurp(dir / str(out, "/final", ending)));
    if (ending == ".pare") continue;
    CHECK(run(dir, "pare eval --test-limit 50 --quiet --weights " + final).code == 0);
  }
  CHECK(count == 4);
}

}  // namespace
}  // namespace pare::test
