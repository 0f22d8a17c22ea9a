#include "deploy/lower.h"

#include <doctest/doctest.h>

#include <sstream>

#include "tests/deploy/nets.h"
#include "tests/support/message.h"

namespace pare {
namespace {

using namespace test;

models::Options small(std::vector<int64_t> widths, int64_t size = 16) {
  models::Options o;
  o.widths = std::move(widths);
  o.image = {size, size, 3};
  return o;
}

const models::Options kResNet = small({8, 16, 24});
const models::Options kNin = small({32, 24, 48, 40, 32, 32, 64, 32});
const models::Options kGrouped = small({64, 64, 64, 64, 64, 64, 64, 64});

struct Case {
  NetOptions net;
  double gap;  // of logits, as a part of their spread
};

// Floats differ by the order of sums alone. Where floats are rounded to codes a value on the edge
// may take the next code, which later layers see.
const std::vector<Case> kCases = {
    {{"resnet20", "", kResNet}, 1e-4},
    {{"nin", "", kNin}, 1e-4},
    {{"nin_gc", "", kGrouped}, 1e-4},
    {{"resnet20", "uniform:W8A8", kResNet}, 0.05},
    {{"resnet20", "uniform:8", kResNet, true}, 0.05},
    {{"nin", "uniform:W8A8", kNin}, 0.05},
    {{"nin_gc", "uniform:W4A8", kGrouped}, 0.05},
    {{"nin", "wqaq:W8A8", kNin}, 0.05},
    {{"nin", "wqaq:W4A4", kNin}, 0.05},
    {{"nin", "uniform:W12A8", kNin}, 0.05},  // weights in float
    {{"nin", "wbab:W2A2", kNin}, 1e-3},
    {{"nin", "wbab:W2A2,edges=uniform:8,place=input", kNin}, 0.05},
    {{"nin_gc", "wbab:W3A2,edges=uniform:8,place=input", kGrouped}, 0.05},
};

TEST_CASE("a lowered network computes what the network computes") {
  for (const Case& c : kCases) {
    CAPTURE(c.net.model);
    CAPTURE(c.net.scheme);
    nn::Layer model = net(c.net);
    const deploy::Lowered lowered = deploy::lower(model, images(1, c.net.options.image));
    runtime::Session session(lowered.program, 1);
    const Tensor x = images(24, c.net.options.image, 77);
    const Tensor y = run(session, x), want = forward(model, x);
    int64_t same = 0;
    for (int64_t i = 0; i < x.dim(0); ++i) same += argmax(y, i) == argmax(want, i);
    CHECK(same == x.dim(0));
    CHECK(largest_gap(y, want) < c.gap);
  }
}

TEST_CASE("files are as small as their bits say: NIN with groups, 2.3 MB in float32") {
  const auto bytes = [](const std::string& scheme) {
    // Normal weights: trained ones have a narrower peak and shorter codes.
    nn::Layer model = net({.model = "nin_gc", .scheme = scheme, .init = {}});
    return deploy::lower(model, images(1, {32, 32, 3})).report.bytes;
  };
  CHECK(bytes("") <= 2360000);
  CHECK(bytes("wbab:W2A2") <= 210000);
  CHECK(bytes("wbab:W3A2") <= 280000);
  CHECK(bytes("uniform:W8A8,edges=uniform:8") <= 600000);
  CHECK(bytes("uniform:W4A8,edges=uniform:8") <= 330000);
}

TEST_CASE("binary networks with 8-bit edges run in integers from end to end") {
  for (const auto& [name, options] : {std::pair{"nin", kNin}, std::pair{"nin_gc", kGrouped}}) {
    const std::string model_name = name;
    CAPTURE(model_name);
    nn::Layer model = net({name, "wbab:W2A2,edges=uniform:8,place=input", options});
    const runtime::Program p = deploy::lower(model, images(1, options.image)).program;
    std::vector<const runtime::Op*> layers;
    for (const runtime::Op& op : p.ops) {
      if (op.kind == runtime::OpKind::conv) layers.push_back(&op);
    }
    REQUIRE(layers.size() == 9);
    const auto type = [&](int32_t b) { return p.buffers[static_cast<size_t>(b)].type; };
    for (size_t i = 0; i < 8; ++i) {  // the last one reads codes again
      CAPTURE(i);
      CHECK(type(layers[i]->inputs[0]) == (i > 0 ? runtime::Type::bits : runtime::Type::u8));
      CHECK(type(layers[i]->output) == (i < 7 ? runtime::Type::bits : runtime::Type::u8));
      if (i < 7) CHECK(!layers[i]->finish.falls.empty());  // some batch norms fall
    }
  }
}

TEST_CASE("a float layer in front of signs gives signs") {
  nn::Layer model = net({"nin", "wbab:W2A2", kNin});
  const runtime::Program p = deploy::lower(model, images(1, kNin.image)).program;
  CHECK(p.ops[0].kind == runtime::OpKind::conv);
  CHECK(p.buffers[static_cast<size_t>(p.ops[0].output)].type == runtime::Type::bits);
}

TEST_CASE("residual sums stay integer where their operands are quantized") {
  nn::Layer model = net({"resnet20", "uniform:8", kResNet, true});
  const runtime::Program p = deploy::lower(model, images(1, kResNet.image)).program;
  int sums = 0;
  for (const runtime::Op& op : p.ops) {
    if (op.kind != runtime::OpKind::add) continue;
    ++sums;
    CHECK(p.buffers[static_cast<size_t>(op.inputs[0])].type == runtime::Type::u8);
    CHECK(p.buffers[static_cast<size_t>(op.inputs[1])].type == runtime::Type::u8);
    CHECK(p.buffers[static_cast<size_t>(op.output)].type == runtime::Type::u8);
  }
  CHECK(sums == 9);
}

TEST_CASE("pooling is of codes where all that read it quantize alike") {
  models::Options o = small({8, 8, 16, 16}, 64);
  o.stem = "imagenet";
  nn::Layer model = net({"resnet18", "uniform:8", o, true});
  const runtime::Program p = deploy::lower(model, images(1, o.image)).program;
  int pools = 0, converts = 0;
  for (const runtime::Op& op : p.ops) {
    converts += op.kind == runtime::OpKind::convert;
    if (op.kind != runtime::OpKind::max_pool) continue;
    ++pools;
    CHECK(p.buffers[static_cast<size_t>(op.inputs[0])].type == runtime::Type::u8);
    CHECK(p.buffers[static_cast<size_t>(op.output)].type == runtime::Type::u8);
  }
  CHECK(pools == 1);
  CHECK(converts == 1);  // of the image
}

TEST_CASE("what has no counterpart is refused by name") {
  models::Options o = kNin;
  nn::Layer model = net({"nin", "A=uniform:16,W=uniform:8", o});
  const auto lower = [&] { deploy::lower(model, images(1, o.image)); };
  CHECK(contains(message_of(lower), "16 bits"));
  nn::Layer scaled = net({"nin", "wbab:W2A2,xnor=on", o});
  CHECK(contains(message_of([&] { deploy::lower(scaled, images(1, o.image)); }), "lower: model."));
}

TEST_CASE("a report has a line for each layer") {
  nn::Layer model = net({"nin", "wbab:W2A2", kNin});
  const deploy::Lowered lowered = deploy::lower(model, images(1, kNin.image));
  std::ostringstream text;
  text << lowered.report;
  CHECK(lowered.report.rows.size() == 9);
  CHECK(lowered.report.rows[1].weights == "binary");
  CHECK(lowered.report.rows[1].input == "signs");
  CHECK(lowered.report.rows[8].weights == "float");
  CHECK(contains(text.str(), "model.1.conv"));
  CHECK(contains(text.str(), "9 layers, "));
}

}  // namespace
}  // namespace pare
