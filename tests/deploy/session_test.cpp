// Kernels against the plain loops of reference.h: equal to the last bit, on every instruction set
// and for any number of threads and images.

#include "deploy/runtime/session.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "core/rng.h"
#include "deploy/lower.h"
#include "deploy/runtime/winograd.h"
#include "tests/deploy/nets.h"
#include "tests/deploy/reference.h"
#include "tests/support/message.h"

namespace pare {
namespace {

using namespace test;
using runtime::Coding;

Tensor meaning(const Program& program, const Tensor& x) {
  Reference reference(program);
  std::vector<float> all;
  for (int64_t i = 0; i < x.dim(0); ++i) {
    const std::vector<float> y = reference.run(x.data() + i * x.numel() / x.dim(0));
    all.insert(all.end(), y.begin(), y.end());
  }
  Tensor y = Tensor::uninit({x.dim(0), static_cast<int64_t>(all.size()) / x.dim(0)});
  std::copy(all.begin(), all.end(), y.data());
  return y;
}

bool has_winograd(const Program& program) {
  return std::any_of(program.ops.begin(), program.ops.end(), [&](const Op& op) {
    return op.kind == OpKind::conv && runtime::winograd_for(program, op);
  });
}

/// On every instruction set, with one thread, and three for few and for many images. Winograd's
/// algorithm sums floats in another way than plain loops: the same bytes everywhere, close to
/// these.
void check_meaning(const Program& program, const Tensor& x) {
  Tensor want = meaning(program, x);
  if (has_winograd(program)) {
    runtime::Session session(program, 1);
    const Tensor y = run(session, x);
    CHECK(largest_gap(y, want) < 2e-5);
    want = y;
  }
  for (const std::string isa : runtime::instruction_sets()) {
    CAPTURE(isa);
    const WithIsa forced(isa.c_str());
    for (int threads : {1, 3}) {
      CAPTURE(threads);
      runtime::Session session(program, threads);
      CHECK(same_bytes(run(session, x), want));
      Tensor first = Tensor::uninit({1, want.dim(1)});
      session.run(x.data(), 1, first.data());
      CHECK(!std::memcmp(first.data(), want.data(), static_cast<size_t>(want.dim(1)) * 4));
    }
  }
}

struct ConvCase {
  Type in, out;
  Coding coding;
  int32_t h, w, c, filters, groups;
  runtime::Window window;
  bool half_away = false;
};

std::vector<int16_t> numbers(Coding coding, size_t n, std::mt19937& random) {
  const auto number = [&](int r) {  // of 0 .. 255
    switch (coding) {
      case Coding::s8:
        return r - 128;
      case Coding::s4:
        return (r & 15) - 8;
      case Coding::s2:
        return (r & 3) - 2;
      case Coding::ternary:
        return r % 3 - 1;
      case Coding::o8:
        return 2 * r - 255;
      case Coding::o4:
        return 2 * (r & 15) - 15;
      case Coding::o2:
        return 2 * (r & 3) - 3;
      default:
        return (r & 1) * 2 - 1;
    }
  };
  std::vector<int16_t> all(n);
  for (int16_t& v : all) v = static_cast<int16_t>(number(static_cast<int>(random() % 256)));
  return all;
}

/// float image -> convert -> convolution -> convert -> float
Program conv_program(const ConvCase& c) {
  std::mt19937 random(7);
  std::uniform_real_distribution<float> uniform(-1, 1);
  const runtime::Window& w = c.window;
  const int32_t oh = (c.h + 2 * w.ph - w.dh * (w.kh - 1) - 1) / w.sh + 1;
  const int32_t ow = (c.w + 2 * w.pw - w.dw * (w.kw - 1) - 1) / w.sw + 1;
  Program p;
  p.buffers = {{"image", Type::f32, c.h, c.w, c.c},
               {"in", c.in, c.h, c.w, c.c, 0.02f, c.in == Type::u8 ? 117 : 0},
               {"out", c.out, oh, ow, c.filters, 0.5f, c.out == Type::u8 ? 3 : 0},
               {"result", Type::f32, oh, ow, c.filters}};
  p.input = 0, p.output = 3;
  Op encode{.name = "encode", .kind = OpKind::convert, .inputs = {0}, .output = 1};
  if (c.in == Type::u8) encode.finish = {.scale = {0.02f}, .min = -117, .max = 138};
  Op conv{.name = "conv", .inputs = {1}, .output = 2, .window = w, .groups = c.groups};
  conv.coding = c.coding;
  const int64_t n = int64_t{w.kh} * w.kw * (c.c / c.groups);
  std::vector<uint8_t> bytes;
  for (int32_t f = 0; f < c.filters; ++f) {
    std::vector<uint8_t> packed(static_cast<size_t>(runtime::filter_bytes(c.coding, n)));
    if (c.coding == Coding::f32) {
      for (int64_t i = 0; i < n; ++i) {
        const float v = uniform(random);
        std::memcpy(packed.data() + 4 * i, &v, 4);
      }
    } else {
      runtime::pack_filter(c.coding, numbers(c.coding, static_cast<size_t>(n), random).data(), n,
                           packed.data());
    }
    bytes.insert(bytes.end(), packed.begin(), packed.end());
    if (c.out == Type::bits && c.in != Type::f32) {
      conv.finish.threshold.push_back(static_cast<int32_t>(random() % 21) - 10);
      if (f % 8 == 0) conv.finish.falls.push_back(static_cast<uint8_t>(random()));
    } else {
      conv.finish.scale.push_back(0.01f * uniform(random));
      conv.finish.bias.push_back(uniform(random));
    }
  }
  conv.weights = runtime::Bytes::of(std::move(bytes));
  conv.finish.half_away = c.half_away;
  if (c.out == Type::u8) conv.finish.min = -3, conv.finish.max = 97.5f;
  if (c.out == Type::f32) conv.finish.min = -0.9f;
  Op decode{.name = "decode", .kind = OpKind::convert, .inputs = {2}, .output = 3};
  p.ops = {encode, conv, decode};
  return p;
}

constexpr runtime::Window k1x1{};
constexpr runtime::Window k3x3{.kh = 3, .kw = 3, .ph = 1, .pw = 1};
constexpr runtime::Window k5x5s2{.kh = 5, .kw = 5, .sh = 2, .sw = 2, .ph = 2, .pw = 2};
constexpr runtime::Window k3x2d2{
    .kh = 3, .kw = 2, .sh = 1, .sw = 2, .ph = 2, .pw = 1, .dh = 2, .dw = 2};

const std::vector<ConvCase> kConvs = {
    // in, out, weights, h, w, c, filters, groups, window
    {Type::u8, Type::u8, Coding::s8, 9, 11, 3, 20, 1, k3x3},
    {Type::u8, Type::u8, Coding::s8, 13, 13, 16, 160, 1, k1x1},
    {Type::u8, Type::u8, Coding::s8, 6, 33, 16, 16, 1, k3x3},  // the highest tiles
    {Type::u8, Type::u8, Coding::s8, 6, 35, 7, 9, 1, k1x1},
    {Type::u8, Type::f32, Coding::s8, 9, 8, 15, 34, 1, k3x2d2},
    {Type::u8, Type::u8, Coding::s8, 7, 9, 21, 6, 3, k3x3},
    {Type::u8, Type::f32, Coding::s4, 8, 8, 48, 48, 1, k5x5s2},
    {Type::u8, Type::u8, Coding::s2, 7, 7, 12, 33, 3, k3x3, true},
    {Type::u8, Type::u8, Coding::o8, 9, 11, 3, 20, 1, k3x3},
    {Type::u8, Type::f32, Coding::o8, 13, 13, 16, 160, 1, k1x1},
    {Type::u8, Type::u8, Coding::o8, 7, 9, 21, 6, 3, k3x3},
    {Type::u8, Type::bits, Coding::o8, 10, 9, 3, 50, 1, k5x5s2},
    {Type::u8, Type::f32, Coding::o8, 9, 8, 15, 34, 1, k3x2d2},
    {Type::u8, Type::u8, Coding::o8, 9, 9, 37, 37, 37, k3x3},
    {Type::f32, Type::f32, Coding::o8, 9, 9, 5, 7, 1, k3x3},
    {Type::u8, Type::f32, Coding::o4, 8, 8, 48, 48, 1, k5x5s2},
    {Type::u8, Type::u8, Coding::o2, 7, 7, 12, 33, 3, k3x3},
    {Type::u8, Type::bits, Coding::s8, 10, 9, 3, 50, 1, k5x5s2},
    {Type::u8, Type::f32, Coding::ternary, 9, 9, 10, 10, 2, k3x2d2},
    {Type::u8, Type::u8, Coding::s8, 9, 9, 37, 37, 37, k3x3},
    {Type::u8, Type::bits, Coding::binary, 12, 12, 64, 64, 4, k1x1},
    {Type::bits, Type::bits, Coding::binary, 9, 9, 96, 70, 1, k5x5s2},
    {Type::bits, Type::f32, Coding::binary, 8, 8, 192, 48, 1, k1x1},
    {Type::bits, Type::bits, Coding::binary, 7, 7, 128, 128, 8, k3x3},
    {Type::bits, Type::u8, Coding::ternary, 9, 8, 72, 42, 3, k3x3},
    {Type::bits, Type::bits, Coding::ternary, 9, 9, 33, 17, 1, k3x2d2},
    {Type::bits, Type::f32, Coding::binary, 3, 3, 320, 64, 1, k3x3},
    {Type::bits, Type::bits, Coding::binary, 9, 7, 192, 192, 1, k1x1},
    {Type::bits, Type::bits, Coding::binary, 5, 7, 160, 200, 1, k3x3},
    {Type::bits, Type::u8, Coding::binary, 6, 6, 128, 120, 2, k1x1},
    {Type::bits, Type::bits, Coding::binary, 7, 7, 128, 256, 8, k3x3},
    {Type::bits, Type::f32, Coding::binary, 6, 7, 72, 192, 3, k3x2d2},
    {Type::f32, Type::bits, Coding::f32, 9, 9, 3, 50, 1, k3x3},
    {Type::f32, Type::bits, Coding::f32, 5, 6, 20, 20, 20, k3x3},
    {Type::u8, Type::bits, Coding::s8, 5, 6, 20, 20, 20, k3x3},
    {Type::f32, Type::f32, Coding::f32, 9, 9, 3, 50, 1, k3x3},
    {Type::f32, Type::f32, Coding::f32, 5, 40, 8, 16, 1, k3x3},
    {Type::f32, Type::f32, Coding::f32, 9, 7, 12, 30, 3, k5x5s2},
    {Type::f32, Type::f32, Coding::s8, 8, 8, 24, 24, 24, k3x3},
    {Type::f32, Type::f32, Coding::binary, 8, 8, 24, 64, 1, k1x1},
};

TEST_CASE("convolutions of every kind mean what they say") {
  Rng rng(5);
  for (const ConvCase& c : kConvs) {
    const std::string coding = runtime::coding_name(c.coding);
    CAPTURE(coding);
    CAPTURE(static_cast<int>(c.in));
    CAPTURE(static_cast<int>(c.out));
    CAPTURE(c.c);
    check_meaning(conv_program(c), Tensor::normal({3, c.h, c.w, c.c}, rng));
  }
}

TEST_CASE("a session made for one instruction set runs with any other") {
  const ConvCase c{Type::bits, Type::bits, Coding::binary, 9, 7, 192, 192, 1, k1x1};
  const Program p = conv_program(c);
  Rng rng(5);
  const Tensor x = Tensor::normal({3, c.h, c.w, c.c}, rng), want = meaning(p, x);
  for (const std::string made : runtime::instruction_sets()) {
    CAPTURE(made);
    runtime::force_instruction_set(made.c_str());
    runtime::Session session(p, 1);
    for (const std::string used : runtime::instruction_sets()) {
      CAPTURE(used);
      const WithIsa forced(used.c_str());
      CHECK(same_bytes(run(session, x), want));
    }
  }
}

TEST_CASE("sums of 16-bit products would saturate; these do not") {
  ConvCase c{Type::u8, Type::f32, Coding::s8, 4, 4, 64, 16, 1, k3x3};
  Program p = conv_program(c);
  p.ops[1].weights = runtime::Bytes::of(std::vector<uint8_t>(9 * 64 * 16, 0x80));  // -128
  const Tensor x = Tensor::full({2, 4, 4, 64}, 100.0f);                            // code 255
  check_meaning(p, x);
}

TEST_CASE("shuffles of every type, by halves and one by one") {
  Rng rng(5);
  for (const Type type : {Type::f32, Type::u8, Type::bits}) {
    for (const auto& [channels, groups] : std::vector<std::pair<int32_t, int32_t>>{
             {64, 2}, {128, 8}, {256, 32}, {192, 64}, {48, 4}, {60, 3}, {96, 6}, {64, 1}}) {
      const int32_t c = channels, g = groups;
      CAPTURE(static_cast<int>(type));
      CAPTURE(c);
      CAPTURE(g);
      Program p;
      p.buffers = {{"image", Type::f32, 3, 2, c},
                   {"in", type, 3, 2, c, 0.02f, type == Type::u8 ? 117 : 0},
                   {"out", type, 3, 2, c, 0.02f, type == Type::u8 ? 117 : 0},
                   {"result", Type::f32, 3, 2, c}};
      p.input = 0, p.output = 3;
      Op encode{.name = "encode", .kind = OpKind::convert, .inputs = {0}, .output = 1};
      if (type == Type::u8) encode.finish = {.scale = {0.02f}, .min = -117, .max = 138};
      const Op shuffle{
          .name = "shuffle", .kind = OpKind::shuffle, .inputs = {1}, .output = 2, .groups = g};
      const Op decode{.name = "decode", .kind = OpKind::convert, .inputs = {2}, .output = 3};
      p.ops = {encode, shuffle, decode};
      check_meaning(p, Tensor::normal({2, 3, 2, c}, rng));
    }
  }
}

struct WithWinograd {
  explicit WithWinograd(bool on) : before(runtime::winograd_enabled()) {
    runtime::enable_winograd(on);
  }
  ~WithWinograd() { runtime::enable_winograd(before); }
  WithWinograd(const WithWinograd&) = delete;
  WithWinograd& operator=(const WithWinograd&) = delete;
  bool before;
};

TEST_CASE(
    "Winograd's algorithm: odd sizes and channels, borders, signs, whole numbers as weights") {
  const runtime::Window k3x3_inside{.kh = 3, .kw = 3}, k5x5{.kh = 5, .kw = 5, .ph = 2, .pw = 2};
  const std::vector<ConvCase> cases = {
      {Type::f32, Type::f32, Coding::f32, 13, 30, 17, 20, 1, k3x3},
      {Type::f32, Type::f32, Coding::f32, 32, 32, 16, 16, 1, k3x3},
      {Type::f32, Type::f32, Coding::f32, 8, 8, 64, 70, 1, k3x3},
      {Type::f32, Type::f32, Coding::s8, 15, 12, 24, 50, 1, k3x3_inside},
      {Type::f32, Type::bits, Coding::f32, 21, 17, 40, 50, 1, k3x3},
      {Type::f32, Type::f32, Coding::f32, 11, 18, 19, 33, 1, k5x5},
  };
  for (const ConvCase& c : cases) {
    CAPTURE(c.h);
    CAPTURE(c.c);
    const Program program = conv_program(c);
    Rng rng(8);
    const Tensor x = Tensor::normal({3, c.h, c.w, c.c}, rng);
    for (bool on : {true, false}) {
      const WithWinograd use(on);
      CHECK(has_winograd(program) == on);
      check_meaning(program, x);
    }
  }
}

TEST_CASE("codes of floats, by every rule and with halves either way") {
  using runtime::Encoding;
  Rng rng(6);
  Tensor x = Tensor::normal({2, 3, 5, 7}, rng);
  for (int64_t i = 0; i < 40; ++i) x.data()[i] = 0.125f * static_cast<float>(i - 20);  // halves
  for (const Encoding encoding : {Encoding::divide, Encoding::multiply, Encoding::ternary}) {
    for (const bool half_away : {false, true}) {
      for (const bool shift_first : {false, true}) {
        if (shift_first && encoding != Encoding::divide) continue;
        CAPTURE(static_cast<int>(encoding));
        CAPTURE(half_away);
        CAPTURE(shift_first);
        const int32_t zero = encoding == Encoding::divide ? 9 : encoding == Encoding::ternary;
        Program p;
        p.buffers = {{"image", Type::f32, 3, 5, 7},
                     {"codes", Type::u8, 3, 5, 7, 0.25f, zero},
                     {"result", Type::f32, 3, 5, 7}};
        p.input = 0, p.output = 2;
        Op encode{.name = "encode", .kind = OpKind::convert, .inputs = {0}, .output = 1};
        encode.encoding = encoding;
        encode.finish = {.scale = {0.25f}, .half_away = half_away, .shift_first = shift_first};
        encode.finish.min = encoding == Encoding::multiply ? 0.0f : static_cast<float>(-zero);
        encode.finish.max = encoding == Encoding::ternary ? 1.0f : 6.0f;
        p.ops = {encode, {.name = "decode", .kind = OpKind::convert, .inputs = {1}, .output = 2}};
        check_meaning(p, x);
      }
    }
  }
}

struct NetCase {
  std::string model, scheme, order;
  std::vector<int64_t> widths;
  int64_t size;
  bool sums = false;
};

TEST_CASE("lowered networks mean what they say") {
  const std::vector<NetCase> cases = {
      {"resnet20", "", "", {8, 8, 12}, 8},
      {"resnet20", "uniform:W8A8,keep=none", "", {8, 8, 12}, 8},
      {"resnet20", "uniform:8", "", {8, 8, 12}, 8, true},
      {"nin_gc", "wbab:W3A2", "", {64, 64, 64, 64, 64, 64, 64, 64}, 8},
      {"nin", "wbab:W2A2,edges=uniform:8,place=input", "", {192, 160, 96, 192, 64, 64, 64, 64}, 8},
      {"nin", "wbab:W2A2", "bacp", {32, 24, 48, 40, 32, 32, 64, 32}, 8},
      {"nin", "wbab:W2A2", "acbp", {32, 24, 48, 40, 32, 32, 64, 32}, 8},
      {"nin", "wqaq:W4A4", "", {32, 24, 48, 40, 32, 32, 64, 32}, 8},
  };
  for (const NetCase& c : cases) {
    CAPTURE(c.model);
    CAPTURE(c.scheme);
    models::Options o;
    o.widths = c.widths, o.order = c.order, o.image = {c.size, c.size, 3};
    nn::Layer model = net({c.model, c.scheme, o, c.sums});
    check_meaning(deploy::lower(model, images(1, o.image)).program, images(2, o.image, 9));
  }
}

}  // namespace
}  // namespace pare
