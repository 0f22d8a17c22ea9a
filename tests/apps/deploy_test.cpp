#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>

#include "deploy/runtime/file.h"
#include "deploy/runtime/normalize.h"
#include "deploy/runtime/session.h"
#include "tests/apps/run.h"
#include "tests/datasets/pictures_for_test.h"

using namespace pare;
using namespace pare::test;

namespace {

std::string pixels(size_t count) {
  std::string bytes(count * 32 * 32 * 3, 0);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 + i / 977);
  return bytes;
}

void write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace

TEST_CASE("pare export --to pare, pare run, pare bench infer of a file") {
  const TempDir dir;
  REQUIRE(run(dir, "pare train" + kTiny + "--epochs 1 --out r").code == 0);
  REQUIRE(run(dir,
              "pare quantize --weights r/best.safetensors --quant uniform:W8A8,edges=uniform:8 "
              "--calib 32 --train-limit 64 --test-limit 50 --out q")
              .code == 0);
  const Result made =
      run(dir, "pare export --weights q/quantized.safetensors --to pare --out m.pare --json");
  REQUIRE(made.code == 0);
  CHECK(made.json()["bytes"] == slurp(dir / "m.pare").size());
  REQUIRE(made.json()["layers"].size() == 9);
  CHECK(made.json()["layers"][0]["weights"] == "int8");
  CHECK(made.json()["layers"][0]["output"] == "codes");

  // The runtime's own answer for the same frames.
  const std::string frames = pixels(3);
  write(dir / "frames", frames);
  runtime::Session session(runtime::load(dir / "m.pare"), 1);
  std::vector<float> x(frames.size()), y(static_cast<size_t>(3 * session.output().numel()));
  runtime::normalize(session.program(), reinterpret_cast<const uint8_t*>(frames.data()), 3,
                     x.data());
  session.run(x.data(), 3, y.data());

  // A picture of the model's size is the frame itself; what is no picture is left out.
  fs::create_directories(dir / "photos");
  const Bytes png = png_of({32, 32}, Bytes(frames.begin(), frames.begin() + 32 * 32 * 3));
  write(dir / "photos/a.png", std::string(png.begin(), png.end()));
  write(dir / "photos/b.png", "no picture");
  const Result seen = run(dir, "pare run m.pare photos --top 1 --json");
  CHECK(seen.code == 0);
  CHECK(contains(seen.err, "b.png is left out"));
  const auto best = std::max_element(y.begin(), y.begin() + session.output().numel());
  CHECK(nlohmann::json::parse(seen.out)["top"][0]["class"] == best - y.begin());
  CHECK(contains(run(dir, "pare run m.pare photos/a.png --top 1").out, " %  "));
  CHECK(run(dir, "pare run m.pare photos/b.png").code == 1);
  CHECK(run(dir, "pare run m.pare nowhere.png").says("cannot find nowhere.png"));

  const Result ran = run(dir, "pare run m.pare --top 2 --threads 2 < frames");
  REQUIRE(ran.code == 0);
  std::istringstream lines(ran.out);
  const int64_t outputs = session.output().numel();
  for (int64_t i = 0; i < 3; ++i) {
    std::string line;
    REQUIRE(std::getline(lines, line));
    const auto answer = nlohmann::json::parse(line);
    const float* row = y.data() + i * outputs;
    CHECK(answer["top"].size() == 2);
    CHECK(answer["top"][0]["class"] == std::max_element(row, row + outputs) - row);
    CHECK(answer["top"][0]["probability"] >= answer["top"][1]["probability"]);
  }
  write(dir / "short", frames.substr(0, 3100));
  const Result cut = run(dir, "pare run m.pare < short");
  CHECK(cut.code == 1);
  CHECK(cut.says("frame 2 on stdin has 28 bytes, expected 3072"));
  CHECK(run(dir, "pare run r/best.safetensors < short").says("is no model.pare file"));

  const std::string few = " --batch-size 2 --steps 2 --warmup 0 --json";
  const Result speed = run(dir, "pare bench infer --weights m.pare" + few);
  REQUIRE(speed.code == 0);
  CHECK(speed.json()["results"][0]["layers"].size() >= 9);
  CHECK(run(dir, "pare bench infer --weights m.pare --model nin").says("leave out --model"));
  const Result own =
      run(dir, "pare bench infer --weights q/quantized.safetensors --precision own" + few);
  REQUIRE(own.code == 0);
  CHECK(own.json()["results"][1]["layers"].size() == speed.json()["results"][0]["layers"].size());
  CHECK(run(dir, "pare bench infer --weights q/quantized.safetensors --precision int8")
            .says("--precision own measures it"));
  CHECK(run(dir, "pare export --weights r/best.safetensors --to pare --opset 17 --out x.pare")
            .says("--opset is a matter of ONNX"));
}

TEST_CASE("pare bench infer --precision: random weights, lowered") {
  const TempDir dir;
  const Result all = run(dir,
                         "pare bench infer --model nin_gc --image-size 16 --batch-size 1 --steps 1 "
                         "--warmup 0 --precision fp32,int8,w4,ternary,binary --json");
  REQUIRE(all.code == 0);
  const auto results = all.json()["results"];
  REQUIRE(results.size() == 6);
  CHECK(results[0]["name"] == "network");
  for (size_t i = 2; i < 6; ++i) CHECK(results[i]["bytes"] < results[i - 1]["bytes"]);
  CHECK(all.says("GMAC/s"));  // the tables have moved to stderr
  // Signs go from the first layer to the last one without a float between them.
  for (const auto& op : results[5]["layers"]) CHECK(op["name"] != "model.0.act");
  CHECK(run(dir, "pare bench infer --precision int9").says("expected fp32, int8, w4"));
  CHECK(run(dir, "pare bench infer --precision own").says("needs a model that is quantized"));
}
