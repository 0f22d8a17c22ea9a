// Terms as text, taps, and whole objectives.

#include "distill/distiller.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/ops.h"
#include "distill/losses.h"
#include "models/models.h"
#include "nn/optim.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::test;
using distill::parse_term;

namespace {

nn::Layer resnet(std::vector<int64_t> widths, uint64_t seed) {
  nn::Layer model = models::make("resnet20", {.image = {16, 16, 3}, .widths = std::move(widths)});
  Rng rng(seed);
  nn::init(model, rng, models::init_options("resnet20"));
  return model;
}

struct Setup {
  Rng rng{5};
  nn::Layer student = resnet({4, 8, 16}, 1), teacher = resnet({8, 16, 32}, 2);
  Batch batch{Tensor::normal({4, 16, 16, 3}, rng), Tensor::zeros({4})};

  distill::Distiller distiller(const std::vector<std::string>& texts) {
    distill::DistillerOptions options;
    for (const std::string& text : texts) options.terms.push_back(parse_term(text));
    return {student, teacher, options, batch.x, rng};
  }
};

}  // namespace

TEST_CASE("terms are read from text and written back") {
  const distill::TermSpec kd = parse_term("kd:4:0.7");
  CHECK(kd.name == "kd");
  CHECK(kd.numbers == std::vector<double>{4, 0.7});
  CHECK(kd.weight() == 0.7);
  CHECK(parse_term("kd").numbers == std::vector<double>{4, 0.7});
  const distill::TermSpec vid = parse_term("vid:layer1+layer2>layer3:2.5");
  CHECK(vid.weight() == 2.5);
  CHECK(vid.places == std::vector<distill::Place>{{"layer1", "layer1"}, {"layer2", "layer3"}});
  for (const char* text : {"kd:2", "dkd:4:1:8", "irg:layer2+layer3", "hint:7:a>b", "rkd:1:0"}) {
    const distill::TermSpec spec = parse_term(text);
    CHECK(parse_term(to_string(spec)).numbers == spec.numbers);
    CHECK(parse_term(to_string(spec)).places == spec.places);
  }
  const std::string help = distill::describe_terms();
  for (const auto& info : distill::terms()) CHECK(contains(help, info.name + ":"));
}

TEST_CASE("texts that make no sense are refused with the reason") {
  const auto says = [](const char* text, const char* what) {
    CAPTURE(text);
    CHECK(contains(message_of([&] { parse_term(text); }), what));
  };
  says("hnt:layer3", "there is no loss 'hnt', did you mean hint?");
  says("kd:0", "temperature is 0, expected at least 0.01");
  says("kd:1:2:3", "'3' is one number too many, kd has 2");
  says("kd:layer3", "got 1 places, expected 0");
  says("irg:layer3", "got 1 places, expected 2");
  says("vid", "got 0 places, expected 1 to 8");
  says("vid:a:b", "got 'b' after the places");
  says("vid:a>", "got place 'a>'");
}

TEST_CASE("taps keep what modules put out, by path") {
  nn::Layer model = resnet({4, 8, 16}, 1);
  Rng rng(3);
  const Tensor x = Tensor::normal({2, 16, 16, 3}, rng);
  distill::Taps taps(model, {"layer1", "layer3"}, "student", true);
  CHECK(contains(message_of([&] { taps.of({"layer1"}); }), "was not called"));
  model(x).data();
  const auto f = taps.of({"layer3", "layer1"});
  CHECK(f[0].shape() == Shape{2, 4, 4, 16});
  CHECK(f[1].shape() == Shape{2, 16, 16, 4});
  CHECK(contains(message_of([&] { distill::Taps(model, {"layr3"}, "student"); }),
                 "the student has no module 'layr3'"));
}

TEST_CASE("an objective is the weighted sum of its terms, and trains what they learn") {
  Setup s;
  auto distiller = s.distiller({"kd:3:0.4", "at:10:layer2+layer3", "vid:2:layer3", "hint:layer1"});
  CHECK(distiller.cross_entropy_weight() == doctest::Approx(0.6));
  CHECK(nn::parameters(distiller.learned()).size() == 3 + 1 + 1);
  const Tensor z = s.student(s.batch.x);
  const Tensor loss = distiller(z, s.batch);
  const std::vector<float> parts = distiller.last();
  REQUIRE(parts.size() == 4);
  const float ce = cross_entropy(z, s.batch.y).item();
  const float want = 0.6f * ce + 0.4f * parts[0] + 10 * parts[1] + 2 * parts[2] + parts[3];
  CHECK(loss.item() == doctest::Approx(want).epsilon(1e-4));
  const Tensor t = no_grad([&] { return s.teacher(s.batch.x); });
  CHECK(parts[0] == doctest::Approx(distill::kd(z, t, {.temperature = 3}).item()).epsilon(1e-5));
  loss.backward();
  for (const nn::NamedTensor& p : nn::parameters(distiller.learned())) {
    CAPTURE(p.name);
    CHECK(p.tensor.grad());
  }
  for (const nn::NamedTensor& p : nn::parameters(s.teacher)) CHECK_FALSE(p.tensor.grad());
}

TEST_CASE("vid starts from a variance of five") {
  Setup s;
  auto distiller = s.distiller({"vid:layer3"});
  float rho = 0;
  for (const nn::NamedTensor& p : nn::parameters(distiller.learned())) {
    if (contains(p.name, "rho")) rho = p.tensor.data()[0];
  }
  CHECK(std::log1p(std::exp(rho)) + 1e-5 == doctest::Approx(5));
}

TEST_CASE("a student that is distilled comes closer to its teacher") {
  Setup s;
  auto distiller = s.distiller({"kd:4:1", "vid:layer3"});
  CHECK(distiller.cross_entropy_weight() == 0);
  auto groups = nn::param_groups(s.student, 0.0f);
  for (auto& group : nn::param_groups(distiller.learned(), 0.0f)) groups.push_back(group);
  const auto optimizer = nn::adam(std::move(groups), {.lr = 1e-2f});
  nn::set_training(s.student, true);
  std::vector<float> first, last;
  for (int step = 0; step < 25; ++step) {
    optimizer->zero_grad();
    distiller(s.student(s.batch.x), s.batch).backward();
    optimizer->step();
    (step == 0 ? first : last) = distiller.last();
  }
  CHECK(last[0] < 0.5f * first[0]);
  CHECK(last[1] < first[1]);
}

TEST_CASE("networks that do not fit are refused") {
  Setup s;
  CHECK(contains(message_of([&] { s.distiller({}); }), "there is no loss"));
  CHECK(contains(message_of([&] { s.distiller({"vid:layer9"}); }),
                 "the student has no module 'layer9'"));
  s.teacher = models::make("resnet20", {.classes = 7, .image = {16, 16, 3}});
  CHECK(contains(message_of([&] { s.distiller({"kd"}); }),
                 "the student's logits are [4, 10], the teacher's [4, 7]"));
}
