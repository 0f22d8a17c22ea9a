// The teacher's logits on disk.

#include "distill/teacher_cache.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>

#include "core/ops.h"
#include "distill/distiller.h"
#include "models/models.h"
#include "nn/init.h"
#include "nn/state.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::test;
namespace fs = std::filesystem;

namespace {

struct TempFile {
  TempFile() : path((fs::temp_directory_path() / str("pare_cache_", ::getpid())).string()) {}
  ~TempFile() { fs::remove(path); }
  std::string path;
};

const distill::CacheKey kKey{"0123", "cifar10", "half"};

nn::Layer lenet(uint64_t seed) {
  nn::Layer model = models::make("lenet5", {.image = {28, 28, 1}});
  Rng rng(seed);
  nn::init(model, rng, models::init_options("lenet5"));
  return model;
}

}  // namespace

TEST_CASE("answers are found by the image alone, in any batch, and after reading the file") {
  TempFile file;
  Rng rng(1);
  const Tensor x = Tensor::normal({5, 2, 2, 3}, rng), t = Tensor::normal({5, 4}, rng);
  distill::TeacherCache cache(file.path, kKey);
  CHECK_FALSE(cache.find(x));
  cache.add(x, t);
  cache.add(slice(x, 0, 1, 3), Tensor::zeros({2, 4}));  // known: the first answer stays
  CHECK(cache.size() == 5);
  CHECK(cache.find(x) == t);
  CHECK_FALSE(fs::exists(file.path));
  cache.save();
  const distill::TeacherCache again(file.path, kKey);
  CHECK(again.find(slice(x, 0, 2, 5)) == slice(t, 0, 2, 5));
  Tensor other = x.clone();
  other.data()[11] += 1e-6f;  // another image
  CHECK_FALSE(again.find(slice(other, 0, 0, 1)));
  CHECK(again.find(slice(other, 0, 1, 5)) == slice(t, 0, 1, 5));
}

TEST_CASE("the file grows by doubling, whole at any time, or never") {
  TempFile file;
  Rng rng(2);
  distill::TeacherCache cache(file.path, kKey);
  const auto add = [&](distill::TeacherCache& to, int64_t n) {
    to.add(Tensor::normal({n, 1, 1, 1}, rng), Tensor::zeros({n, 2}));
  };
  add(cache, 4096);
  CHECK_FALSE(fs::exists(file.path));
  add(cache, 1);
  CHECK(distill::TeacherCache(file.path, kKey).size() == 4097);
  add(cache, 4097);
  CHECK(distill::TeacherCache(file.path, kKey).size() == 4097);
  cache.save();
  CHECK(distill::TeacherCache(file.path, kKey).size() == 8194);
  fs::remove(file.path);
  distill::TeacherCache reader(file.path, kKey, /*writes=*/false);
  add(reader, 9000);
  reader.save();
  CHECK_FALSE(fs::exists(file.path));
}

TEST_CASE("files about something else are refused and left alone") {
  TempFile file;
  {
    distill::TeacherCache cache(file.path, kKey);
    cache.add(Tensor::zeros({1, 1, 1, 1}), Tensor::zeros({1, 2}));
    cache.save();
  }
  const auto message = [&](distill::CacheKey key) {
    return message_of([&] { distill::TeacherCache(file.path, std::move(key)); });
  };
  CHECK(message(kKey).empty());
  CHECK(contains(message({"4567", "cifar10", "half"}), "is about teacher 0123"));
  CHECK(contains(message({"0123", "mnist", "half"}), "this is teacher 0123, mnist"));
  CHECK(contains(message({"0123", "cifar10", "none"}), "normalized as none"));
  nn::save_weights(file.path, lenet(1));
  CHECK(contains(message(kKey), "holds no teacher's answers"));
  CHECK(contains(message_of([&] { distill::TeacherCache(fs::temp_directory_path(), kKey); }),
                 "is a folder"));
  CHECK(contains(message_of([&] { distill::TeacherCache("/nowhere/cache", kKey); }),
                 "there is no folder"));
}

TEST_CASE("one weight makes another teacher") {
  nn::Layer a = lenet(1), b = lenet(1);
  CHECK(distill::weights_hash(a) == distill::weights_hash(b));
  CHECK(distill::weights_hash(a).size() == 16);
  nn::parameters(b)[1].tensor.data()[0] += 1e-6f;
  CHECK(distill::weights_hash(a) != distill::weights_hash(b));
}

TEST_CASE("with a cache the objective is the same, and the teacher is asked once") {
  TempFile file;
  nn::Layer student = lenet(1), teacher = lenet(2);
  Rng rng(3);
  const Batch batch{Tensor::normal({4, 28, 28, 1}, rng), Tensor::zeros({4})};
  distill::DistillerOptions options{.terms = {distill::parse_term("kd:2:0.5")}};
  distill::Distiller plain(student, teacher, options, batch.x, rng);
  const Tensor z = student(batch.x);
  const float want = plain(z, batch).item();
  distill::TeacherCache cache(file.path, kKey);
  options.cache = &cache;
  distill::Distiller cached(student, teacher, options, batch.x, rng);
  CHECK(cached(z, batch).item() == want);
  CHECK(cache.size() == 4);
  nn::parameters(teacher)[0].tensor.fill_(0);  // nobody looks any more
  CHECK(cached(z, batch).item() == want);
  options.terms.push_back(distill::parse_term("hint:conv1"));
  CHECK(contains(message_of([&] { distill::Distiller(student, teacher, options, batch.x, rng); }),
                 "a cache keeps logits alone"));
}
