// What a user does wrong: one message, exit code 1, nothing half-written.
#include <doctest/doctest.h>

#include <algorithm>

#include "tests/apps/run.h"

namespace pare::test {
namespace {

/// The command fails with exactly one message that contains `text`, and leaves no `out` folder
/// behind.
void check_refused(const TempDir& dir, const std::string& command, const std::string& text,
                   const std::string& env = {}) {
  CAPTURE(command);
  const Result r = run(dir, command, env);
  CAPTURE(r.err);
  CHECK(r.code == 1);
  CHECK(r.out.empty());
  CHECK(r.err.rfind("pare: ", 0) == 0);
  CHECK(r.err.find("\npare: ") == std::string::npos);
  CHECK(r.says(text));
  CHECK_FALSE(fs::exists(dir / "out"));
}

const std::string kOut = " --out out --quiet";

TEST_CASE("unknown and misspelt flags name the nearest one") {
  TempDir dir;
  check_refused(dir, "wbab --epcohs 3" + kOut, "unknown flag '--epcohs', did you mean --epochs?");
  check_refused(dir, "wbab --batchsize=3" + kOut, "did you mean --batch-size?");
  check_refused(dir, "wqaq --W 2" + kOut, "unknown flag");
  check_refused(dir, "pare eval --wieghts x", "did you mean --weights?");
  check_refused(dir, "pare train --zzzzzzzzzz" + kOut, "unknown flag '--zzzzzzzzzz'");
  check_refused(dir, "pare train extra" + kOut, "unexpected argument 'extra'");
  check_refused(dir, "pare trian", "unknown command 'trian', did you mean train?");
}

TEST_CASE("bad values say what is expected") {
  TempDir dir;
  check_refused(dir, "wbab --W 4" + kOut, "--W: got '4', expected one of 2, 3, 32");
  check_refused(dir, "wbab --A x" + kOut, "--A: got 'x'");
  check_refused(dir, "wqaq --Wbits 0" + kOut,
                "--Wbits: got '0', expected a whole number of at least 1");
  check_refused(dir, "wqaq --Wbits 20" + kOut, "20");
  check_refused(dir, "wbab --epochs 1.5" + kOut, "--epochs: got '1.5', expected a whole number");
  check_refused(dir, "wbab --epochs -1" + kOut, "--epochs: got '-1'");
  check_refused(dir, "wbab --lr 0" + kOut, "--lr: got '0', expected a number above 0");
  check_refused(dir, "wbab --lr nan" + kOut, "--lr: got 'nan'");
  check_refused(dir, "wbab --lr", "lr");
  check_refused(dir, "wbab --out --force", "--out needs a value, got the flag '--force'");
  check_refused(dir, "wbab --lr 1 --lr 2" + kOut, "--lr is given 2 times");
  check_refused(dir, "wbab --model nim" + kOut, "--model: got 'nim', expected one of");
  check_refused(dir, "wbab --model nin --widths 8,x" + kOut, "--widths: got 'x'");
  check_refused(dir, "wbab --model nin --widths 8,8" + kOut, "width");
  check_refused(dir, "wbab --dataset cifar11" + kOut, "--dataset: got 'cifar11'");
  check_refused(dir, "wbab --optimizer sdg" + kOut, "expected one of sgd, adam, adamw");
  check_refused(dir, "wbab --schedule sometimes" + kOut, "sometimes");
  check_refused(dir, "wbab --normalize odd" + kOut, "odd");
  check_refused(dir, "pare train --model nin --quant W=septenary" + kOut, "septenary");
  check_refused(dir, "pare train --model resnet20 --order bacp" + kOut, "order");
  check_refused(dir, "wbab --ste odd" + kOut, "--ste: got 'odd'");
  check_refused(dir, "wbab --model nin" + kOut, "sparc", "PARE_ISA=sparc");
}

TEST_CASE("flags that contradict each other") {
  TempDir dir;
  check_refused(dir, "wbab --augment --no-augment" + kOut, "exclude each other");
  check_refused(dir, "wbab --init a --refine b" + kOut, "exclude each other");
  check_refused(dir, "wbab --nesterov" + kOut, "--nesterov needs --optimizer sgd");
  check_refused(dir, "wbab --momentum 0.5" + kOut, "--momentum is for --optimizer sgd");
  check_refused(dir, "wbab --A 32 --ste clip" + kOut, "--ste is for quantized activations");
}

TEST_CASE("missing and truncated data") {
  TempDir dir;
  check_refused(dir, "wbab --dataset cifar10 --data nowhere" + kOut, "nowhere");
  check_refused(dir, "wbab --dataset mnist --data ." + kOut, "idx");
  fs::create_directories(dir / "cut");
  for (const char* name : {"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4",
                           "data_batch_5", "test_batch"}) {
    std::ofstream(dir / (str("cut/", name, ".bin"))) << std::string(3073 * 10 - 7, '\0');
  }
  check_refused(dir, "wbab --data cut" + kOut, "data_batch_1.bin");
}

TEST_CASE("checkpoints that do not fit") {
  TempDir dir;
  REQUIRE(run(dir, "pare train" + kTiny + "--epochs 1 --out made --quiet").code == 0);
  const std::string ckpt = "made/last.safetensors";
  check_refused(dir, "wbab --init missing.safetensors" + kOut, "missing.safetensors");
  check_refused(dir, "wbab --model resnet20 --init " + ckpt + kOut,
                "--model: got 'resnet20', but made/last.safetensors holds a model with 'nin'");
  check_refused(dir, "pare eval --model resnet20 --weights " + ckpt, "--model: got 'resnet20'");
  check_refused(dir, "pare eval --weights " + ckpt + " --quant wbab:W2A2", "--quant");
  check_refused(dir, "pare eval --weights " + ckpt + " --widths 9,9,9,9,9,9,9,9", "--widths");

  const std::string whole = slurp(dir / ckpt);
  std::ofstream(dir / "cut.safetensors", std::ios::binary) << whole.substr(0, whole.size() / 2);
  check_refused(dir, "pare eval --weights cut.safetensors", "cut.safetensors");
  check_refused(dir, "wbab --init cut.safetensors" + kOut, "cut.safetensors");
  std::ofstream(dir / "text.safetensors") << "not a weight file at all";
  check_refused(dir, "pare info --weights text.safetensors", "text.safetensors");
}

TEST_CASE("run folders that cannot be used") {
  TempDir dir;
  std::ofstream(dir / "file") << "x";
  check_refused(dir, "wbab" + kTiny + "--epochs 1 --quiet --out file/below", "file/below");
  check_refused(dir, "wbab" + kTiny + "--epochs 1 --quiet --out file",
                "is a file, expected a folder");
  check_refused(dir, "wbab" + kTiny + "--epochs 1 --quiet --out /proc/pare", "/proc/pare");

  const std::string train = "wbab" + kTiny + "--epochs 1 --quiet --out used";
  REQUIRE(run(dir, train).code == 0);
  const std::string before = slurp(dir / "used/last.safetensors");
  check_refused(dir, train, "used is not empty");
  CHECK(slurp(dir / "used/last.safetensors") == before);
  std::ofstream(dir / "used/notes.txt") << "mine";
  REQUIRE(run(dir, train + " --force --seed 2").code == 0);
  CHECK(slurp(dir / "used/last.safetensors") != before);
  CHECK(slurp(dir / "used/notes.txt") == "mine");  // only the files of a run are replaced
}

TEST_CASE("a diverging run stops with the name of the tensor and leaves no temporary file") {
  TempDir dir;
  const Result r =
      run(dir, "pare train" + kTiny + "--epochs 30 --lr 1e30 --schedule constant --out r --quiet");
  CAPTURE(r.err);
  CHECK(r.code == 1);
  CHECK(r.says("pare: train: the loss is"));
  CHECK(r.says("values are not finite"));
  for (const auto& entry : fs::directory_iterator(dir / "r")) {
    CHECK(entry.path().string().find(".tmp-") == std::string::npos);
  }
}

}  // namespace
}  // namespace pare::test
