// pare distill: a small teacher and a smaller student on the built-in images.

#include <doctest/doctest.h>

#include "tests/apps/run.h"
#include "tests/apps/weights.h"

namespace pare::test {
namespace {

const std::string kStudent =
    " --train-limit 160 --test-limit 100 --batch-size 40"
    " --eval-batch-size 50 --threads 2 --dataset synthetic"
    " --student resnet20 --widths 4,8,8 ";

void train_teacher(const TempDir& dir) {
  const Result r = run(dir,
                       "pare train --model resnet20 --widths 8,8,16 --train-limit 160"
                       " --test-limit 100 --batch-size 40 --epochs 1 --threads 2 --out big");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
}

TEST_CASE("a student is trained beside its teacher, and its checkpoint is like any other") {
  TempDir dir;
  train_teacher(dir);
  const Result r = run(dir, "pare distill --teacher big/best.safetensors" + kStudent +
                                "--quant wbab:W2A2 --loss kd:3:0.5 --loss vid:layer2+layer3"
                                " --epochs 1 --out small --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.says("teacher    resnet20"));
  CHECK(r.says("0.5 cross-entropy + 0.5 kd:3:0.5 + 1 vid:1:layer2+layer3"));
  CHECK(r.json()["epochs"] == 1);
  const auto best = safetensors::read(dir / "small/best.safetensors");
  for (const auto& [name, entry] : best.entries) CHECK(name.find("beside") == std::string::npos);
  const Result eval =
      run(dir, "pare eval --weights small/best.safetensors --test-limit 100 --json");
  CAPTURE(eval.err);
  CHECK(eval.code == 0);
}

TEST_CASE("a distillation goes on where it stopped, with what it learned beside the student") {
  TempDir dir;
  train_teacher(dir);
  const std::string command =
      "pare distill --teacher big/best.safetensors" + kStudent + "--loss vid:layer3 --epochs 2 ";
  REQUIRE(run(dir, command + "--out whole").code == 0);
  REQUIRE(run(dir, command + "--out parts --steps 3").code == 0);
  const Result r = run(dir, "pare distill --resume --out parts");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  check_equal_weights(dir / "whole/last.safetensors", dir / "parts/last.safetensors");
}

TEST_CASE("distillations that cannot be are refused") {
  TempDir dir;
  train_teacher(dir);
  const auto says = [&](const std::string& flags, const std::string& what) {
    CAPTURE(flags);
    const Result r = run(dir, "pare distill" + kStudent + "--epochs 1 --out none " + flags);
    CHECK(r.code == 1);
    CAPTURE(r.err);
    CHECK(r.says(what));
    CHECK_FALSE(fs::exists(dir / "none"));
  };
  says("", "--teacher is needed");
  says("--loss kd", "--teacher is needed");
  says("--teacher nowhere.safetensors", "nowhere.safetensors");
  says("--teacher big/best.safetensors --model nin", "--student and --model are the same flag");
  says("--teacher big/best.safetensors --loss kdd", "there is no loss 'kdd', did you mean");
  says("--teacher big/best.safetensors --loss vid:layer9", "has no module 'layer9'");
  says("--teacher big/best.safetensors --teacher-model nin", "holds resnet20");
}

}  // namespace
}  // namespace pare::test
