// What a student learns from itself, and what stands in a teacher: moving average, classifiers
// within, replaced modules.

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/ops.h"
#include "distill/distiller.h"
#include "distill/losses.h"
#include "models/models.h"
#include "nn/layers.h"
#include "nn/state.h"
#include "tests/support/close.h"
#include "tests/support/gradcheck.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::test;

namespace {

nn::Layer resnet(const std::string& name, uint64_t seed) {
  nn::Layer model = models::make(name, {.image = {16, 16, 3}, .widths = {4, 8, 16}});
  Rng rng(seed);
  nn::init(model, rng, models::init_options(name));
  return model;
}

distill::DistillerOptions terms(const std::vector<std::string>& texts) {
  distill::DistillerOptions o;
  for (const std::string& text : texts) o.terms.push_back(distill::parse_term(text));
  return o;
}

struct Setup {
  Rng rng{5};
  nn::Layer student = resnet("resnet20", 1), teacher = resnet("resnet32", 2), none;
  Batch batch{Tensor::normal({4, 16, 16, 3}, rng), Tensor::of({0, 3, 1, 9})};

  distill::Distiller distiller(const std::vector<std::string>& texts, bool alone = false) {
    return {student, alone ? none : teacher, terms(texts), batch.x, rng};
  }
};

bool has_gradient(const nn::Layer& model, const std::string& start) {
  for (const nn::NamedTensor& p : nn::parameters(model)) {
    if (p.name.rfind(start, 0) == 0 && p.tensor.grad()) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("deep supervision is its formula, and its gradient the derivative") {
  Rng rng(3);
  const Tensor c = Tensor::normal({4, 5}, rng), z = Tensor::normal({4, 5}, rng);
  const Tensor y = Tensor::of({0, 4, 2, 2});
  const distill::DeepOptions o{.soft = 0.3f, .temperature = 2};
  const float want =
      0.7f * cross_entropy(c, y).item() + 0.3f * distill::kd(c, z, {.temperature = 2}).item();
  CHECK(distill::deep_supervision(c, z, y, o).item() == doctest::Approx(want).epsilon(1e-5));
  const OpCase op{.name = "deep", .inputs = {{4, 5}}, .f = [&](In x) {
                    return distill::deep_supervision(x[0], z, y, o);
                  }};
  CHECK(gradcheck(op, rng).relative < 2e-2);
  Tensor own = z.clone().requires_grad_(), classifier = c.clone().requires_grad_();
  distill::deep_supervision(classifier, own, y, o).backward();
  CHECK(classifier.grad());
  CHECK_FALSE(own.grad());  // the last layer does not follow the others
}

TEST_CASE("classifiers within the student are learned without a teacher") {
  Setup s;
  auto distiller = s.distiller({"deep:0.5:3:0.4:layer1+layer2"}, /*alone=*/true);
  CHECK(nn::parameters(distiller.learned()).size() == 4);
  const Tensor z = s.student(s.batch.x), loss = distiller(z, s.batch);
  CHECK(loss.item() ==
        doctest::Approx(cross_entropy(z, s.batch.y).item() + 0.4f * distiller.last()[0])
            .epsilon(1e-4));
  loss.backward();
  for (const nn::NamedTensor& p : nn::parameters(distiller.learned())) CHECK(p.tensor.grad());
  CHECK(contains(message_of([&] { s.distiller({"kd"}, true); }), "kd needs a teacher"));
  CHECK(contains(message_of([&] { s.distiller({"deep:2:3:1:layer1"}); }), "soft is a share"));
}

TEST_CASE("a moving average follows the student by its formula, and is kept for a resume") {
  Setup s;
  distill::EmaTeacher ema(s.student, 0.5f);
  std::map<std::string, Tensor> want;
  for (const auto& item : nn::state_dict(s.student)) want[item.first] = item.second.clone();
  for (int step = 0; step < 6; ++step) {
    for (auto& item : nn::state_dict(s.student)) {
      Tensor t = item.second;
      t.copy_(t + 0.25f * static_cast<float>(step + 1));
    }
    ema.update();
    const float decay =
        std::min(0.5f, (1.0f + static_cast<float>(step)) / (10.0f + static_cast<float>(step)));
    for (auto& item : want) {
      item.second = decay * item.second + (1 - decay) * nn::state_dict(s.student).at(item.first);
    }
  }
  for (const auto& item : nn::state_dict(ema.network())) {
    CHECK(close(item.second, want.at(item.first), {.relative = 1e-5}));
  }
  auto options = terms({"kd:2:0.5"});
  options.ema = &ema;
  distill::Distiller distiller(s.student, ema.network(), options, s.batch.x, s.rng);
  CHECK(nn::parameters(distiller.learned()).empty());
  const auto kept = nn::state_dict(distiller.learned());
  CHECK(kept.size() == want.size() + 1);
  CHECK(kept.at("1.conv1.weight") == nn::state_dict(ema.network()).at("conv1.weight"));
  CHECK(kept.at("1.updates").item() == 6);
  Tensor weight = kept.at("1.conv1.weight");
  weight.fill_(3);  // as a resume does
  CHECK(nn::state_dict(ema.network()).at("conv1.weight") == weight);
  CHECK(distiller(s.student(s.batch.x), s.batch).requires_grad());
}

TEST_CASE("replaced modules: all of them at rate 1, and only they get a gradient") {
  Setup s;
  nn::set_training(s.student, false);  // batch norm as in the sum below
  auto distiller = s.distiller({"theseus:1:1:layer2+layer3"});
  const Tensor z = s.student(s.batch.x).detach();  // no gradient but the term's
  const Tensor loss = distiller(z, s.batch);
  nn::Layer hybrid = s.teacher;
  for (const char* name : {"layer2", "layer3"}) {
    nn::Layer mine;
    nn::for_each_layer(s.student, [&](const std::string& path, nn::Layer& l) {
      if (path == name) mine = l;
    });
    nn::for_each_layer(hybrid, [&](const std::string& path, nn::Layer& l) {
      if (path == name) l = mine;
    });
  }
  const float want = cross_entropy(hybrid(s.batch.x), s.batch.y).item();
  CHECK(distiller.last()[0] == doctest::Approx(want).epsilon(1e-5));
  loss.backward();
  CHECK(has_gradient(s.student, "layer2."));
  CHECK(has_gradient(s.student, "layer3."));
  CHECK_FALSE(has_gradient(s.student, "layer1."));
  CHECK_FALSE(has_gradient(s.teacher, ""));
}

TEST_CASE("replaced modules: drawn anew in every step, one at least, the same after a resume") {
  Setup s;
  const auto run = [&](distill::Distiller& d, int steps) {
    std::vector<int> drawn;
    for (int i = 0; i < steps; ++i) {
      for (nn::NamedTensor& p : nn::parameters(s.student)) p.tensor.zero_grad();
      const Tensor z = s.student(s.batch.x).detach();  // no gradient but the term's
      d(z, s.batch).backward();
      drawn.push_back(has_gradient(s.student, "layer1.") + 2 * has_gradient(s.student, "layer2."));
    }
    return drawn;
  };
  Rng same(8);
  distill::Distiller whole(s.student, s.teacher, terms({"theseus:0.3:1:layer1+layer2"}), s.batch.x,
                           same);
  const std::vector<int> want = run(whole, 12);
  CHECK(std::count(want.begin(), want.end(), 0) == 0);
  CHECK(std::count(want.begin(), want.end(), 1) > 0);
  CHECK(std::count(want.begin(), want.end(), 2) > 0);
  Rng again(8);
  distill::Distiller rest(s.student, s.teacher, terms({"theseus:0.3:1:layer1+layer2"}), s.batch.x,
                          again);
  nn::state_dict(rest.learned()).at("0.steps").fill_(5);
  CHECK(run(rest, 7) == std::vector<int>(want.begin() + 5, want.end()));
}

TEST_CASE("replaced modules must fit") {
  Setup s;
  s.teacher = models::make("resnet20", {.image = {16, 16, 3}, .widths = {8, 16, 32}});
  CHECK(contains(message_of([&] { s.distiller({"theseus:layer2"}); }),
                 "the student's layer2 gives [4, 8, 8, 8], the teacher's layer2 gives"));
  s.teacher = models::make("resnet20", {.image = {16, 16, 3}, .widths = {8, 8, 16}});
  CHECK(contains(message_of([&] { s.distiller({"theseus:layer2"}); }), "conv2d: input has 8"));
  CHECK(contains(message_of([&] { s.distiller({"theseus:2:1:layer2"}); }), "a probability"));
}
