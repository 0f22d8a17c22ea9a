#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>

#include <chrono>
#include <thread>

#include "tests/apps/run.h"
#include "tests/apps/weights.h"

namespace pare::test {
namespace {

std::vector<Json> rows_of(const std::string& folder) {
  std::vector<Json> rows;
  std::istringstream in(slurp(folder + "/metrics.jsonl"));
  for (std::string line; std::getline(in, line);) rows.push_back(Json::parse(line));
  return rows;
}

TEST_CASE("a run leaves a complete folder and a JSON result") {
  TempDir dir;
  const Result r = run(dir, "wbab --W 2 --A 2" + kTiny + "--epochs 2 --out r --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.says("epoch"));  // the human part

  const Json summary = r.json();
  CHECK(summary == Json::parse(slurp(dir / "r/summary.json")));
  for (const char* key : {"best_top1", "last_top1", "params", "macs", "bytes_fp32",
                          "bytes_quantized", "seconds", "peak_rss_bytes"}) {
    CAPTURE(key);
    REQUIRE(summary.contains(key));
    CHECK(summary[key].is_number());
  }
  CHECK(summary["epochs"] == 2);
  CHECK(summary["steps"] == 8);
  CHECK(summary["bytes_quantized"] < summary["bytes_fp32"]);
  CHECK(summary["peak_rss_bytes"] > 1000000);

  const std::vector<Json> rows = rows_of(dir / "r");
  REQUIRE(rows.size() == 2);
  for (const char* key : {"epoch", "train_loss", "train_top1", "test_loss", "test_top1", "lr",
                          "seconds", "images_per_second"}) {
    CAPTURE(key);
    REQUIRE(rows[1].contains(key));
    CHECK(rows[1][key].is_number());
  }
  CHECK(rows[1]["epoch"] == 2);
  CHECK(rows[1]["lr"] == 0.01);
  CHECK(rows[1]["test_top1"] == summary["last_top1"]);

  const Json config = Json::parse(slurp(dir / "r/config.json"));
  CHECK(config["program"] == "wbab");
  CHECK(config["threads"] == 2);
  CHECK(config["options"]["W"] == "2");
  CHECK(config["options"]["epochs"] == 2);
  CHECK(config["options"]["lr"] == 0.01);
  for (const char* key : {"version", "commit", "isa", "quant"}) CHECK(config[key].is_string());
  CHECK(fs::exists(dir / "r/best.safetensors"));
  CHECK(fs::exists(dir / "r/last.safetensors"));
}

TEST_CASE("any number of threads gives the same bits") {
  TempDir dir;
  for (const char* n : {"1", "2", "5"}) {
    const Result r = run(dir, str("wbab --W 3 --A 2", kTiny, "--epochs 1 --augment --out t", n,
                                  " --quiet --threads "));
    CHECK(r.code == 1);  // --threads is given twice: kTiny has it
    std::string tiny = kTiny;
    tiny.replace(tiny.find("--threads 2"), 11, str("--threads ", n));
    const Result ok =
        run(dir, str("wbab --W 3 --A 2", tiny, "--epochs 1 --augment --out t", n, " --quiet"));
    CAPTURE(ok.err);
    REQUIRE(ok.code == 0);
  }
  check_equal_weights(dir / "t1/last.safetensors", dir / "t2/last.safetensors");
  check_equal_weights(dir / "t1/last.safetensors", dir / "t5/last.safetensors");
}

TEST_CASE("a resumed run equals an uninterrupted one, stopped in mid-epoch") {
  TempDir dir;
  const std::string train =
      "wqaq --Wbits 2 --Abits 2" + kTiny + "--epochs 3 --ema 0.9 --schedule cosine --quiet ";
  REQUIRE(run(dir, train + "--out whole").code == 0);
  REQUIRE(run(dir, train + "--out parts --steps 3").code == 0);
  CHECK(rows_of(dir / "parts").back()["partial"] == true);
  REQUIRE(run(dir, "wqaq --resume --out parts --quiet --steps 10").code == 0);
  REQUIRE(run(dir, "wqaq --resume --out parts --quiet --threads 1").code == 0);

  check_equal_weights(dir / "whole/last.safetensors", dir / "parts/last.safetensors");
  check_equal_weights(dir / "whole/best.safetensors", dir / "parts/best.safetensors");
  const auto whole = rows_of(dir / "whole"), parts = rows_of(dir / "parts");
  REQUIRE(whole.size() == 3);
  REQUIRE(parts.size() == 3);  // the partial row is gone
  for (size_t i = 0; i < 3; ++i) {
    for (const char* key :
         {"epoch", "train_loss", "train_top1", "test_loss", "test_top1", "lr", "step"}) {
      CAPTURE(key);
      CHECK(whole[i][key] == parts[i][key]);
    }
  }
  const Json a = Json::parse(slurp(dir / "whole/summary.json"));
  const Json b = Json::parse(slurp(dir / "parts/summary.json"));
  for (const char* key : {"best_top1", "best_epoch", "last_top1", "epochs", "steps", "stopped"}) {
    CHECK(a[key] == b[key]);
  }
}

TEST_CASE("resume keeps the run's options and refuses others") {
  TempDir dir;
  REQUIRE(run(dir, "wbab" + kTiny + "--epochs 1 --out r --quiet").code == 0);
  const Result lr = run(dir, "wbab --resume --out r --lr 0.5");
  CHECK(lr.code == 1);
  CHECK(lr.says("--lr: got '0.5', but r was started with '0.01'"));
  CHECK(run(dir, "wqaq --resume --out r").says("is a run of 'wbab'"));
  CHECK(run(dir, "wbab --resume --out nowhere").says("nothing to resume in nowhere"));
  CHECK(run(dir, "wbab --resume").says("--resume needs --out"));
  // More epochs may be added; the finished ones are not repeated.
  REQUIRE(run(dir, "wbab --resume --out r --epochs 2 --quiet").code == 0);
  CHECK(rows_of(dir / "r").size() == 2);
}

TEST_CASE("Ctrl-C saves, says how to go on, and the run can be resumed") {
  TempDir dir;
  const std::string out = dir / "r";
  const pid_t child = fork();
  if (child == 0) {
    const int null = open((dir / "err.txt").c_str(), O_WRONLY | O_CREAT, 0644);
    dup2(null, 2);
    const std::string line = str("exec ", PARE_BIN, "/pare train", kTiny,
                                 "--quant float --epochs 100000 --quiet --out '", out, "'");
    execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    _exit(99);
  }
  for (int i = 0; i < 600 && !fs::exists(out + "/last.safetensors"); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  kill(child, SIGINT);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 130);
  CHECK(slurp(dir / "err.txt").find("pare train --resume --out") != std::string::npos);
  CHECK_FALSE(fs::exists(out + "/summary.json"));

  const size_t rows = rows_of(out).size();
  CHECK(rows >= 1);
  const std::string again = str("pare train --resume --quiet --out r --epochs ", rows + 1);
  REQUIRE(run(dir, again).code == 0);
  CHECK(rows_of(out).size() == rows + 1);
}

TEST_CASE("init starts from float weights, refine goes on with a quantized model") {
  TempDir dir;
  REQUIRE(run(dir, "pare train" + kTiny + "--epochs 1 --out float --quiet").code == 0);
  // The model is the checkpoint's: no --model, no --widths.
  const std::string data = " --train-limit 160 --test-limit 100 --threads 2 --epochs 1 --quiet ";
  Result r = run(dir, "wbab --W 2 --A 2 --init float/best.safetensors --out w2a2" + data);
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  const Json config = Json::parse(slurp(dir / "w2a2/config.json"));
  CHECK(config["model"] == "nin");
  CHECK(config["options"]["widths"] == std::vector<int>(8, 8));

  r = run(dir, "wbab --W 2 --A 2 --refine w2a2/last.safetensors --out refined" + data);
  CAPTURE(r.err);
  CHECK(r.code == 0);
  r = run(dir, "wbab --W 3 --A 2 --refine w2a2/last.safetensors --out other" + data);
  CHECK(r.code == 1);
  CHECK(r.says("--quant"));
  r = run(dir, "pare train --refine w2a2/last.safetensors --out same --json" + data);
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["quant"] == config["quant"]);  // taken from the checkpoint
}

TEST_CASE("every training option is understood") {
  TempDir dir;
  const Result r =
      run(dir,
          "pare train" + kTiny +
              "--quant W=ternary,A=binary --epochs 1 --optimizer sgd --momentum 0.8 --nesterov"
              " --schedule warmup:1+multistep:3,5:0.5 --label-smoothing 0.1 --clip-grad 1 --ema 0.9"
              " --no-decay-norm --bn-momentum 0.2 --order bacp --seed 7 --no-augment"
              " --normalize half --dataset synthetic --wd 0.001 --save-every 2 --out r --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(run(dir, "pare train" + kTiny + "--optimizer adamw --epochs 1 --augment --out s --quiet")
            .code == 0);
}

}  // namespace
}  // namespace pare::test
