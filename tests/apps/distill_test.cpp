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

TEST_CASE("with a cache of the teacher's answers the student is the same, to the bit") {
  TempDir dir;
  train_teacher(dir);
  const std::string command =
      "pare distill --teacher big/best.safetensors" + kStudent + "--epochs 2 --augment ";
  const std::string views = "--cache known --cache-views 1 ";
  REQUIRE(run(dir, command + views + "--out first").code == 0);
  const auto held = safetensors::read(dir / "known");
  CHECK(held.at("logits").shape == std::vector<int64_t>{160, 10});
  const Result r = run(dir, command + views + "--out second");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK((r.out + r.err).find("160 answers known from known") != std::string::npos);
  check_equal_weights(dir / "first/last.safetensors", dir / "second/last.safetensors");
  const Result other = run(dir, "pare distill --teacher first/best.safetensors --cache known" +
                                    kStudent + "--epochs 1 --no-augment --out third");
  CHECK(other.code == 1);
  CHECK(other.says("known: is about teacher"));
}

TEST_CASE("a student teaches itself: moving average and classifiers within, across a resume") {
  TempDir dir;
  const std::string command = "pare distill --teacher ema:0.9" + kStudent +
                              "--quant lsq:W4A4 --loss kd:2:0.5 --loss deep:layer1+layer2"
                              " --epochs 2 ";
  const Result whole = run(dir, command + "--out whole");
  CAPTURE(whole.err);
  REQUIRE(whole.code == 0);
  REQUIRE(run(dir, command + "--out parts --steps 3").code == 0);
  REQUIRE(run(dir, "pare distill --resume --out parts").code == 0);
  check_equal_weights(dir / "whole/last.safetensors", dir / "parts/last.safetensors");
  const Result alone = run(
      dir, "pare distill --teacher none" + kStudent + "--loss deep:layer1 --epochs 1 --out alone");
  CAPTURE(alone.err);
  CHECK(alone.code == 0);
}

TEST_CASE("a pruned and a quantized student learn by several losses, modules replaced among them") {
  TempDir dir;
  train_teacher(dir);
  const std::string size = " --train-limit 160 --test-limit 100 --batch-size 40 --threads 2 ";
  const auto ok = [&](const std::string& command) {
    CAPTURE(command);
    const Result r = run(dir, command);
    CAPTURE(r.err);
    CHECK(r.code == 0);
    return r;
  };
  ok("pare prune --weights big/best.safetensors --percent 0.3 --test-limit 50 --out slim");
  const std::string distill = "pare distill --teacher big/best.safetensors --epochs 1" + size;
  ok(distill + "--init slim --loss kd --loss hint:layer3 --loss at:100:layer2 --out a");
  const Result r = ok(distill + "--init slim --quant lsq:W4A4 --loss kd --loss vid:layer3 --out b");
  CHECK(r.out.find("lsq(4 bits") != std::string::npos);
  ok("pare eval --weights b/best.safetensors --test-limit 50");
  ok(distill + "--init big/best.safetensors --quant lsq:W2A2 --loss theseus:layer1+layer2 --out c");
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
  says("--teacher big/best.safetensors --augment --cache x", "--cache-views 10 repeats them");
  says("--teacher big/best.safetensors --cache x --loss vid:layer3", "a cache keeps logits alone");
  says("--teacher big/best.safetensors --cache-views 3", "--cache-views is for --cache");
  says("--teacher none", "kd needs a teacher");
  says("--teacher ema:1.5", "expected ema:DECAY");
  says("--teacher ema --cache x", "is for a teacher from a file");
}

}  // namespace
}  // namespace pare::test
