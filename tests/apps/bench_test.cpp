#include <doctest/doctest.h>

#include <algorithm>

#include "tests/apps/run.h"

namespace pare::test {
namespace {

const std::string kSmallNin = " --model nin --widths 8,8,8,8,8,8,8,8 --batch-size 4 --threads 2 ";

void check_spread(const Json& s) {
  CAPTURE(s.dump());
  CHECK(s["min"].get<double>() > 0);
  CHECK(s["min"] <= s["median"]);
  CHECK(s["median"] <= s["max"]);
}

void check_machine(const Json& json) {
  CHECK(json["precision"] == "fp32");
  CHECK(json["threads"] == 2);
  CHECK(json["peak_flops"].get<double>() > 1e7);
  CHECK_FALSE(json["commit"].get<std::string>().empty());
}

TEST_CASE("bench train and infer report speed, share of the peak and memory") {
  TempDir dir;
  for (const char* form : {"train", "infer"}) {
    CAPTURE(form);
    const Result r =
        run(dir, str("pare bench ", form, kSmallNin, "--steps 3 --warmup 1 --quiet --json"));
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    CHECK(r.err.empty());
    const Json json = r.json();
    CHECK(json["bench"] == form);
    CHECK(json["model"] == "nin");
    CHECK(json["quant"] == "");
    CHECK(json["batch"] == 4);
    CHECK(json["image"] == Json({32, 32, 3}));
    check_machine(json);
    check_spread(json["images_per_second"]);
    check_spread(json["seconds_per_step"]);
    const double seconds = json["seconds_per_step"]["median"].get<double>();
    const double speed = json["images_per_second"]["median"].get<double>();
    CHECK(speed == doctest::Approx(4 / seconds));  // of three steps the same one is the median
    // The share is of the peak beside each step, which lies within the peaks of all steps.
    check_spread(json["peak_flops_spread"]);
    const double flops = json["flops_per_image"].get<double>();
    const Json& speeds = json["images_per_second"];
    const Json& peaks = json["peak_flops_spread"];
    const auto share = [&](const char* speed_of, const char* peak_of) {
      return speeds[speed_of].get<double>() * flops / peaks[peak_of].get<double>();
    };
    CHECK(json["peak_fraction"].get<double>() >= 0.999 * share("min", "max"));
    CHECK(json["peak_fraction"].get<double>() <= 1.001 * share("max", "min"));
    CHECK(json["peak_rss_bytes"].get<double>() > 1e6);
  }
}

TEST_CASE("bench counts three passes per training step, but no gradient of the images") {
  TempDir dir;
  const Json info = run(dir, "pare info --model resnet20 --json").json();
  const auto macs = info["macs"].get<double>();
  const auto first = info["layers"][0]["macs"].get<double>();
  REQUIRE(first == 32 * 32 * 16 * 27);
  const std::string flags = " --model resnet20 --batch-size 1 --steps 1 --warmup 0 --json";
  CHECK(run(dir, "pare bench train" + flags).json()["flops_per_image"] == 2 * (3 * macs - first));
  CHECK(run(dir, "pare bench infer" + flags).json()["flops_per_image"] == 2 * macs);
}

TEST_CASE("bench quantizes the model, and prints a table") {
  TempDir dir;
  const std::string command =
      "pare bench train" + kSmallNin + "--steps 1 --warmup 0 --quant wbab:W2A2";
  Result r = run(dir, command + " --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["quant"] == "W=binary,A=binary");
  CHECK(r.says("images/s"));  // the table has moved to stderr
  r = run(dir, command);
  CHECK(r.err.empty());
  for (const char* text : {"images/s", "% of peak", "W=binary,A=binary", "4 images of 32x32x3"}) {
    CAPTURE(text);
    CHECK(r.out.find(text) != std::string::npos);
  }
  r = run(dir, "pare bench infer" + kSmallNin + "--steps 1 --image-size 16 --json");
  CHECK(r.json()["image"] == Json({16, 16, 3}));
}

TEST_CASE("bench --serve answers each number with so many timings, then with the result") {
  TempDir dir;
  std::ofstream(dir / "numbers") << "2\n1\n";
  Result r = run(dir, "pare bench train" + kSmallNin + "--serve <numbers");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  std::istringstream lines(r.out);
  std::string line;
  std::vector<double> seconds;
  for (size_t count : {2, 1}) {
    REQUIRE(std::getline(lines, line));
    const Json answer = Json::parse(line);
    REQUIRE(answer["train"].size() == count);
    for (const Json& s : answer["train"]) seconds.push_back(s.get<double>());
  }
  const Json result = r.json();
  std::sort(seconds.begin(), seconds.end());
  CHECK(result["seconds_per_step"]["median"].get<double>() == doctest::Approx(seconds[1]));

  std::ofstream(dir / "numbers") << "1\n";
  r = run(dir, "pare bench conv --shape 5,6,4,8 --batch-size 2 --serve <numbers");
  REQUIRE(r.code == 0);
  const Json answer = Json::parse(r.out.substr(0, r.out.find('\n')));
  for (const char* pass : {"forward", "data_gradient", "weight_gradient"}) {
    CHECK(answer[pass].size() == 1);
  }

  std::ofstream(dir / "numbers") << "2 x\n";
  r = run(dir, "pare bench train" + kSmallNin + "--serve <numbers");
  CHECK(r.code == 1);
  CHECK(r.says("--serve: got '2 x' on stdin, expected a number of steps"));
}

TEST_CASE("bench conv times the three passes of a shape") {
  TempDir dir;
  const std::string command =
      "pare bench conv --shape 9,12,6,8 --kernel 3,5 --stride 2,1 --groups 2 --batch-size 3"
      " --steps 2 --warmup 1 --threads 2";
  Result r = run(dir, command + " --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  const Json json = r.json();
  check_machine(json);
  REQUIRE(json["layers"].size() == 1);
  const Json& layer = json["layers"][0];
  CHECK(layer["pad"] == Json({1, 2}));  // keeps the size but for the stride
  const int64_t macs = 5 * 12 * 8 * (3 * 5 * 6 / 2);
  CHECK(layer["macs_per_image"] == macs);
  for (const char* pass : {"forward", "data_gradient", "weight_gradient"}) {
    CAPTURE(pass);
    check_spread(layer[pass]["seconds"]);
    CHECK(layer[pass]["flops"] == 2.0 * 3 * static_cast<double>(macs));
    CHECK(layer[pass]["flops_per_second"].get<double>() ==
          doctest::Approx(layer[pass]["flops"].get<double>() /
                          layer[pass]["seconds"]["median"].get<double>()));
    CHECK(json["total"][pass]["peak_fraction"] == layer[pass]["peak_fraction"]);
  }
  r = run(dir, command);
  CHECK(r.out.find("weight gradient") != std::string::npos);
  CHECK(r.out.find("3x5 s2x1 g2") != std::string::npos);
}

TEST_CASE(
    "which convolution was fastest is remembered for each pass, for few images and for many") {
  TempDir dir;
  const std::string cache = "env XDG_CACHE_HOME='" + dir.path.string() + "' ";
  const auto remembered = [&](int images) {
    const Result r = run(dir,
                         str("pare bench conv --shape 8,8,16,16 --steps 1 --warmup 0 --batch-size ",
                             images, " --winograd auto"),
                         cache);
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    return Json::parse(slurp(dir.path / "pare" / "convolutions.json"))["fastest"];
  };
  // Forward pass and data gradient are one problem here, the weight gradient another.
  const Json few = remembered(1);
  CHECK(few.size() == 2);
  const Json all = remembered(16);
  CHECK(all.size() == 4);
  for (const auto& [key, value] : few.items()) CHECK(all.at(key) == value);
  CHECK(remembered(9) == all);
}

TEST_CASE("bench conv lists every convolution of a model, equal ones once") {
  TempDir dir;
  Result r =
      run(dir, "pare bench conv --model resnet20 --batch-size 1 --steps 1 --warmup 0 --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  const Json json = r.json();
  const Json& layers = json["layers"];
  int64_t convolutions = 0, macs = 0;
  double seconds = 0;
  for (const Json& layer : layers) {
    const auto count = layer["count"].get<int64_t>();
    convolutions += count;
    macs += count * layer["macs_per_image"].get<int64_t>();
    seconds += static_cast<double>(count) * layer["forward"]["seconds"]["median"].get<double>();
  }
  CHECK(convolutions == 21);  // 19 of 3x3 and two projections
  CHECK(layers.size() == 8);
  CHECK(layers[0]["path"] == "conv1");
  CHECK(layers[0]["data_gradient"].is_null());
  CHECK(layers[1]["count"] == 6);
  const Json info = run(dir, "pare info --model resnet20 --json").json();
  CHECK(macs == info["macs"].get<int64_t>() - 640);  // the linear layer is none
  const Json& total = json["total"];
  CHECK(total["forward"]["flops"] == 2.0 * static_cast<double>(macs));
  CHECK(total["data_gradient"]["flops"] == 2.0 * static_cast<double>(macs - 442368));
  CHECK(total["forward"]["flops_per_second"].get<double>() ==
        doctest::Approx(2.0 * static_cast<double>(macs) / seconds));

  r = run(dir,
          "pare bench conv --model nin --widths 8,8,8,8,8,8,8,8 --batch-size 1 --steps 3 --json");
  REQUIRE(r.code == 0);
  CHECK(r.err.find("\nall ") != std::string::npos);
  CHECK(r.err.find("\nall, fastest ") != std::string::npos);
  double least = 0, flops = 0;
  const Json nin = r.json();
  for (const Json& layer : nin["layers"]) {
    const Json& pass = layer["weight_gradient"];
    least += layer["count"].get<double>() * pass["seconds"]["min"].get<double>();
    flops += pass["flops"].get<double>();
  }
  const Json& fastest = nin["fastest"]["weight_gradient"];
  const double peak = nin["peak_flops_spread"]["max"];
  CHECK(fastest["flops"] == nin["total"]["weight_gradient"]["flops"]);
  CHECK(fastest["flops_per_second"].get<double>() == doctest::Approx(flops / least));
  CHECK(fastest["peak_fraction"].get<double>() == doctest::Approx(flops / least / peak));
}

TEST_CASE("bench refuses what it cannot measure") {
  TempDir dir;
  const auto refused = [&dir](const std::string& flags, const std::string& text) {
    CAPTURE(flags);
    const Result r = run(dir, "pare bench " + flags);
    CAPTURE(r.err);
    CHECK(r.code == 1);
    CHECK(r.err.rfind("pare: ", 0) == 0);
    CHECK(r.says(text));
  };
  refused("trian", "unknown command 'trian', did you mean train?");
  refused("train --batchsize 3", "did you mean --batch-size?");
  refused("train --steps 0", "--steps: got '0', expected a whole number of at least 1");
  refused("train --precision fp8", "--precision: got 'fp8', expected one of fp32");
  refused("train --serve --steps 3", "--serve and --steps exclude each other");
  refused("infer --quant W=septenary", "septenary");
  refused("conv", "exactly one of --shape and --model is needed");
  refused("conv --shape 8,8,3,4 --model nin", "exactly one of --shape and --model is needed");
  refused("conv --shape 8,8,3", "--shape: got 3 sizes");
  refused("conv --shape 8,8,3,4 --kernel 1,2,3", "--kernel: got 3 sizes");
  refused("conv --shape 8,8,3,4 --groups 2", "cannot be cut into 2 groups");
  refused("conv --shape 4,4,3,4 --kernel 7 --pad 1", "does not fit into the padded input");
  refused("conv --shape 8,8,3,4 --widths 8", "--widths is for --model");
  refused("conv --model nin --kernel 3", "--kernel is for --shape");
  refused("conv --model nin --serve", "--serve is for --shape");
  CHECK(run(dir, "pare bench").code == 1);
  for (const char* form : {"", " train", " infer", " conv"}) {
    CHECK(run(dir, str("pare bench", form, " --help")).code == 0);
  }
}

}  // namespace
}  // namespace pare::test
