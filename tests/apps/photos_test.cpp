// Training, testing and packing photographs with the programs.

#include <doctest/doctest.h>

#include "tests/apps/run.h"
#include "tests/datasets/pictures_for_test.h"

using namespace pare;
using namespace pare::test;

namespace {

/// Two classes of eight training pictures and three to test on.
void write_photos(const TempDir& dir) {
  for (int c = 0; c < 2; ++c) {
    for (int i = 0; i < 11; ++i) {
      const fs::path path = dir.path / "photos" / (i < 8 ? "train" : "val") / (c ? "sea" : "land") /
                            (std::to_string(i) + ".jpg");
      fs::create_directories(path.parent_path());
      const Bytes file = jpeg_of(scenery(50 + i, 70 - i, 20 * c + i));
      std::ofstream out(path, std::ios::binary);
      out.write(reinterpret_cast<const char*>(file.data()),
                static_cast<std::streamsize>(file.size()));
    }
  }
}

void write_text(const TempDir& dir, const std::string& name) {
  std::ofstream(dir.path / name) << "no picture";
}

const std::string kSmall =
    " --model resnet18 --widths 4,4,4,4 --data photos --image-size 32 --batch-size 8 --epochs 2"
    " --threads 2 --quiet --json ";

}  // namespace

TEST_CASE("photographs: classes from the folder, the recipe from the data set") {
  TempDir dir;
  write_photos(dir);
  const Result r = run(dir, "pare train" + kSmall + "--out a");
  INFO(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["dataset"] == "imagenet");
  const Json config = Json::parse(slurp(dir / "a/config.json"));
  const Json& o = config["options"];
  CHECK(o["recipe"] == "imagenet");
  CHECK(o["epochs"] == 2);  // given
  CHECK(o["schedule"] == "warmup:1+cosine");
  CHECK(o["lr"].get<double>() == doctest::Approx(0.1 * 8 / 256));
  CHECK(o["label-smoothing"].get<double>() == doctest::Approx(0.1));
  CHECK(o["ema"].get<double>() == doctest::Approx(0.9999));
  CHECK(o["no-decay-norm"] == true);

  // The checkpoint knows classes, image size and how it was tested.
  const Result e = run(dir, "pare eval --weights a/best.safetensors --data photos --json --quiet");
  INFO(e.err);
  REQUIRE(e.code == 0);
  CHECK(e.json()["images"] == 6);
  CHECK(e.json()["skipped"] == 0);

  // So does what is exported, also where the photographs are not.
  fs::rename(dir.path / "photos", dir.path / "gone");
  for (const char* to : {"onnx", "pare"}) {
    const Result x = run(
        dir, str("pare export --weights a/best.safetensors --to ", to, " --out m.", to, " --json"));
    INFO(x.err);
    CHECK(x.code == 0);
  }
  CHECK(run(dir, "pare export --test --weights a/best.safetensors --to onnx --out t.onnx")
            .says("there is no folder"));
  fs::rename(dir.path / "gone", dir.path / "photos");
  CHECK(e.json()["top1"].get<double>() == r.json()["best_top1"].get<double>());
  const Result none = run(dir, "pare train" + kSmall + "--recipe none --out b");
  REQUIRE(none.code == 0);
  const Json plain = Json::parse(slurp(dir / "b/config.json"))["options"];
  CHECK(plain["schedule"] == "cosine");
  CHECK(plain["ema"] == 0);
}

TEST_CASE("photographs: any number of threads, an interruption, a pack: the same bits") {
  TempDir dir;
  write_photos(dir);
  const std::string all = kSmall + "--mixup 0.2 --cutmix 1 --jitter 0.3 --rand-augment 1 ";
  REQUIRE(run(dir, "pare train" + all + "--out a").code == 0);
  REQUIRE(run(dir, "pare train" + all + "--workers 3 --out b").code == 0);
  REQUIRE(run(dir, "pare train" + all + "--steps 3 --out c").code == 0);
  REQUIRE(run(dir, "pare train --resume --out c --quiet").code == 0);
  const Result p = run(dir, "pare data pack --data photos --out packed --size 0 --json --quiet");
  INFO(p.err);
  REQUIRE(p.code == 0);
  CHECK(p.json()["packs"].size() == 2);
  CHECK(p.json()["packs"][0]["pictures"] == 16);
  CHECK(p.json()["packs"][1]["pictures"] == 6);
  std::string packed = all;
  packed.replace(packed.find("--data photos"), 13, "--data packed");
  REQUIRE(run(dir, "pare train" + packed + "--out d").code == 0);
  const std::string want = slurp(dir / "a/best.safetensors");
  for (const char* other : {"b", "c", "d"}) {
    CAPTURE(other);
    CHECK(slurp(dir / str(other, "/best.safetensors")) == want);
  }
}

TEST_CASE("photographs: files that are none are named") {
  TempDir dir;
  write_photos(dir);
  write_text(dir, "photos/train/land/broken.jpg");
  write_text(dir, "photos/val/sea/broken.png");
  write_text(dir, "photos/val/sea/readme.txt");
  std::string loud = kSmall;
  loud.replace(loud.find("--quiet --json"), 14, "");
  const Result r = run(dir, "pare train" + loud + "--out a");
  INFO(r.err);
  REQUIRE(r.code == 0);
  for (const char* text : {"1 file could not be read:", "land/broken.jpg: neither JPEG nor PNG",
                           "2 files could not be read:", "sea/broken.png: neither JPEG nor PNG",
                           "readme.txt: not called .jpg"}) {
    CAPTURE(text);
    CHECK(r.out.find(text) != std::string::npos);
  }
  const Result e = run(dir, "pare eval --weights a/best.safetensors --data photos --json");
  REQUIRE(e.code == 0);
  CHECK(e.json()["images"] == 7);
  CHECK(e.json()["skipped"] == 2);
  CHECK(e.says("sea/broken.png"));
}

TEST_CASE("photographs: quantized, pruned and distilled like any other images") {
  TempDir dir;
  write_photos(dir);
  REQUIRE(run(dir, "pare train" + kSmall + "--out a").code == 0);
  for (const std::string& command :
       {std::string("pare quantize --quant uniform:W8A8 --calib 8 --out q"),
        std::string("pare prune --method l1 --percent 0.3 --out p.safetensors")}) {
    const Result r = run(dir, command + " --weights a/best.safetensors --data photos --threads 2");
    INFO(r.err);
    CHECK(r.code == 0);
  }
  const Result d =
      run(dir, "pare distill --teacher a/best.safetensors" + kSmall + "--mixup 0.2 --out d");
  INFO(d.err);
  CHECK(d.code == 0);
  const Result dkd = run(
      dir, "pare distill --teacher a/best.safetensors --loss dkd" + kSmall + "--mixup 0.2 --out e");
  CHECK(dkd.code == 1);
  CHECK(dkd.says("dkd: needs one class for each image, got labels [8, 2]"));
  const Result w = run(dir,
                       "wqaq --method lsq --Wbits 4 --Abits 4 --init a/best.safetensors"
                       " --data photos --epochs 1 --batch-size 8 --quiet --out w");
  INFO(w.err);
  CHECK(w.code == 0);
}

TEST_CASE("photographs: flags that fit no picture are refused") {
  TempDir dir;
  write_photos(dir);
  const auto refused = [&](const std::string& flags, const std::string& part) {
    const Result r = run(dir, "pare train --steps 1 --out x " + flags);
    CAPTURE(flags);
    INFO(r.err);
    CHECK(r.code == 1);
    CHECK(r.says(part));
  };
  refused("--image-size 64", "are for photographs, got --dataset synthetic");
  refused("--crop-area 0.5", "--crop-area is for photographs");
  refused("--no-augment --mixup 1 --data photos", "--mixup and --no-augment exclude each other");
  refused("--rand-magnitude 3", "--rand-augment, which is not given");
  refused("--data photos --image-size 64 --eval-resize 32", "becomes 32");
  const Result again = run(dir, "pare data pack --data photos");
  CHECK(again.code == 1);
  CHECK(again.says("--data and --out are needed"));
  REQUIRE(run(dir, "pare data pack --data photos --out p --quiet").code == 0);
  CHECK(run(dir, "pare data pack --data photos --out p").says("already"));
}
