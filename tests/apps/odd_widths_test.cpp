// Networks that pruning left with odd widths (grouped ones: with few channels in each group),
// through every program.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>

#include "core/safetensors.h"
#include "tests/apps/run.h"

namespace pare::test {
namespace {

struct Net {
  std::string flags, prune;
};
const std::array<Net, 4> kNets{{
    {"--model nin --widths 12,12,12,12,12,12,12,12", "--method l1 --percent 0.6"},
    {"--model nin_gc --widths 8,8,16,32,32,32,32,32", "--method l1 --percent 0.4"},
    {"--model resnet20 --widths 8,12,20 --shortcut A", "--method l1 --macs 0.6"},
    {"--model resnet20 --widths 8,12,20 --shortcut B", "--method l1 --macs 0.6"},
}};
constexpr int kImages = 40;
const std::string kTest = " --test-limit 40 --eval-batch-size 40 --threads 1 --json ";
const std::string kTrain = " --train-limit 80 --batch-size 40 --epochs 1" + kTest;

Json done(const TempDir& dir, const std::string& command) {
  const Result r = run(dir, command);
  CAPTURE(command);
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  return r.json();
}

/// Trained into r, pruned into p.safetensors; vectors do not fit into some of the widths.
Json prune(const TempDir& dir, const Net& net) {
  done(dir, str("pare train ", net.flags, kTrain, "--out r"));
  Json report = done(dir, str("pare prune --weights r/best.safetensors ", net.prune, kTest,
                              "--out p.safetensors"));
  const Json& layers = report["layers"];
  CHECK(std::any_of(layers.begin(), layers.end(),
                    [](const Json& l) { return l["kept"].get<int>() % 4 != 0; }));
  return report;
}

/// Weights and biases of layers have the shapes that pruning left.
void check_shapes(const TempDir& dir, const std::string& file) {
  const auto pruned = safetensors::read(dir / "p.safetensors"),
             other = safetensors::read(dir / file);
  for (const auto& item : pruned.entries) {
    const std::string& name = item.first;
    CAPTURE(name);
    REQUIRE(other.has(name));
    CHECK(other.at(name).shape == item.second.shape);
  }
}

/// Codes that fall half-way may flip between two ways to compute the same.
constexpr int kNearlyAll = kImages - 2;

TEST_CASE("odd widths: binary, ternary and four bits, folded and as integer programs") {
  for (const Net& net : kNets) {
    CAPTURE(net.flags);
    const TempDir dir;
    const Json pruned = prune(dir, net);
    for (const std::string quant : {"wbab:W2A2", "wbab:W3A2", "uniform:W4A4"}) {
      CAPTURE(quant);
      const Json trained = done(
          dir, "pare train --init p.safetensors --quant " + quant + kTrain + "--force --out q");
      const std::string best = "--weights q/best.safetensors" + kTest;
      check_shapes(dir, "q/best.safetensors");
      CHECK(trained["macs"] == pruned["after"]["macs"]);
      CHECK(trained["bytes_quantized"].get<int>() < trained["bytes_fp32"].get<int>());
      CHECK(done(dir, "pare eval " + best)["top1"] == trained["best_top1"]);
      const Json folded = done(dir, "pare fold " + best + "--out f.safetensors");
      CHECK(folded["folded"].get<int>() > 0);
      CHECK(folded["same_class"].get<int>() >= kNearlyAll);
      const Json program = done(dir, "pare export --test --to pare --out m.pare " + best);
      CHECK(program["same_class"].get<int>() >= kNearlyAll);
      CHECK(program["bytes"] == fs::file_size(dir / "m.pare"));
    }
  }
}

TEST_CASE("odd widths: every program takes them") {
  for (const Net& net : {kNets[0], kNets[1], kNets[3]}) {
    CAPTURE(net.flags);
    const TempDir dir;
    const Json pruned = prune(dir, net);
    const int64_t params = pruned["after"]["params"], macs = pruned["after"]["macs"];
    const std::string p = "--weights p.safetensors" + kTest;

    done(dir, "wbab --W 2 --A 2 --init p.safetensors --out wbab" + kTrain);
    check_shapes(dir, "wbab/best.safetensors");
    done(dir, "wqaq --Wbits 4 --Abits 4 --init p.safetensors --out wqaq" + kTrain);
    check_shapes(dir, "wqaq/best.safetensors");

    const std::string calib = "--train-limit 80 --calib 40 ";
    done(dir, "pare quantize --quant uniform:W8A8,edges=uniform:8 --out int8 " + calib + p);
    const std::string int8 = "--weights int8/quantized.safetensors" + kTest;
    for (const char* to : {"pare", "onnx"}) {
      CAPTURE(to);
      const Json e = done(dir, str("pare export --test --to ", to, " --out int8.", to, " ", int8));
      CHECK(e["same_class"].get<int>() >= kNearlyAll);
    }
    // Pairs of quantizers move one class in forty where a network has hardly trained: the same
    // share, but of all images, since of 40 it depends on the last bit of the training.
    const Json pairs = done(dir,
                            "pare export --test --to onnx-qdq --out qdq.onnx --eval-batch-size 40 "
                            "--threads 1 --json --weights int8/quantized.safetensors");
    CHECK(pairs["images"].get<int>() >= 1000);
    CHECK(pairs["same_class"].get<int>() * kImages >= pairs["images"].get<int>() * kNearlyAll);
    const Json plain = done(dir, "pare export --test --to onnx --out float.onnx " + p);
    CHECK(plain["same_class"] == kImages);

    const Json student = done(
        dir, "pare distill --teacher r/best.safetensors --refine p.safetensors --out d1" + kTrain);
    CHECK(student["params"] == params);
    done(dir, str("pare distill --teacher p.safetensors ", net.flags, " --out d2", kTrain));

    done(dir, "pare fold --out f.safetensors " + p);
    done(dir, "pare train --init f.safetensors --quant uniform:W4A4 --out fq" + kTrain);
    CHECK(done(dir, "pare compress --out c.safetensors " + p)["after"]["params"] == params);
    for (const char* file : {"p.safetensors", "f.safetensors"}) {
      const Json speed = done(dir, str("pare bench infer --steps 1 --warmup 0 --batch-size 2 "
                                       "--threads 1 --json --weights ",
                                       file));
      CHECK(speed["flops_per_image"] == 2 * macs);
    }
  }
}

}  // namespace
}  // namespace pare::test
