#include "nn/schedule.h"

#include <doctest/doctest.h>

#include "tests/support/message.h"

using namespace pare;
using namespace pare::nn;
using doctest::Approx;
using test::contains;
using test::message_of;

TEST_CASE("constant and multistep") {
  CHECK(constant(0.1f)(3.7, 10) == 0.1f);
  const Schedule s = multistep(1.0f, {2, 5}, 0.1f);
  CHECK(s(0, 10) == Approx(1));
  CHECK(s(1.999, 10) == Approx(1));
  CHECK(s(2, 10) == Approx(0.1));
  CHECK(s(4.9, 10) == Approx(0.1));
  CHECK(s(5, 10) == Approx(0.01));
  CHECK(s(99, 100) == Approx(0.01));
}

TEST_CASE("cosine falls from the rate to its end") {
  const Schedule s = cosine(0.2f, 0.1f);
  CHECK(s(0, 8) == Approx(0.2));
  CHECK(s(2, 8) == Approx(0.1 + 0.1 * (1 + 0.70710678) / 2));
  CHECK(s(4, 8) == Approx(0.15));
  CHECK(s(8, 8) == Approx(0.1));
}

TEST_CASE("one-cycle rises, then falls") {
  const Schedule s = one_cycle(1.0f, 0.25f, 10.0f, 100.0f);
  CHECK(s(0, 8) == Approx(0.1));
  CHECK(s(1, 8) == Approx(0.55));
  CHECK(s(2, 8) == Approx(1.0));
  CHECK(s(5, 8) == Approx((1 + 0.01) / 2));
  CHECK(s(8, 8) == Approx(0.01));
}

TEST_CASE("warm-up scales what follows") {
  const Schedule s = warmup(4, constant(0.8f));
  CHECK(s(0, 10) == 0);
  CHECK(s(1, 10) == Approx(0.2));
  CHECK(s(4, 10) == Approx(0.8));
  CHECK(s(7, 10) == Approx(0.8));
  CHECK(warmup(2, cosine(1))(1, 4) == Approx(0.5 * (1 + 0.70710678) / 2));
}

TEST_CASE("schedules from text") {
  CHECK(parse_schedule("constant", 0.3f)(5, 10) == Approx(0.3));
  CHECK(parse_schedule("cosine", 0.3f)(5, 10) == Approx(0.15));
  CHECK(parse_schedule("one-cycle", 1.0f)(3, 10) == Approx(1.0));
  CHECK(parse_schedule("multistep:80,130", 1.0f)(100, 200) == Approx(0.1));
  CHECK(parse_schedule("multistep:80,130:0.2", 1.0f)(150, 200) == Approx(0.04));
  CHECK(parse_schedule("multistep:2.5", 1.0f)(2.5, 5) == Approx(0.1));
  CHECK(parse_schedule("warmup:5+cosine", 1.0f)(2.5, 1e9) == Approx(0.5));
  CHECK(parse_schedule("warmup:10+multistep:4:0.5", 1.0f)(5, 10) == Approx(0.25));
}

TEST_CASE("schedules that mean nothing are refused, with the forms that do") {
  for (const std::string text : {"",
                                 "cosin",
                                 "cosine:3",
                                 "multistep",
                                 "multistep:",
                                 "multistep:a",
                                 "multistep:3,2",
                                 "multistep:3,3",
                                 "multistep:3,,4",
                                 "multistep:3:0",
                                 "multistep:-1",
                                 "multistep:3:0.1:2",
                                 "warmup:5",
                                 "warmup:5+",
                                 "warmup:0+cosine",
                                 "warmup:x+cosine",
                                 "+cosine",
                                 "multistep:nan",
                                 "multistep:inf",
                                 "constant "}) {
    CAPTURE(text);
    const std::string error = message_of([&] { parse_schedule(text, 0.1f); });
    CHECK(contains(error, "multistep:80,130"));
    CHECK(contains(error, str("'", text, "'")));
  }
  CHECK(contains(message_of([] { multistep(1, {3, 2}); }), "rise"));
  CHECK(contains(message_of([] { one_cycle(1, 1.5f); }), "rise"));
  CHECK(contains(message_of([] { warmup(0, constant(1)); }), "positive"));
}
