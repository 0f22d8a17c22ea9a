#include "deploy/onnx/wire.h"

#include <doctest/doctest.h>

#include <limits>

#include "tests/support/message.h"

using namespace pare;
using namespace pare::onnx;
using test::contains;
using test::message_of;

TEST_CASE("wire format: the examples of the encoding's own documentation") {
  WireWriter w;
  w.integer(1, 150);
  CHECK(w.take() == std::string("\x08\x96\x01", 3));
  w.bytes(2, "testing");
  CHECK(w.take() == std::string("\x12\x07testing"));
  w.message(3, [](WireWriter& inner) { inner.integer(1, 150); });
  CHECK(w.take() == std::string("\x1a\x03\x08\x96\x01", 5));
}

TEST_CASE("wire format: what is written is read") {
  const int64_t kValues[] = {0,
                             1,
                             127,
                             128,
                             300,
                             -1,
                             std::numeric_limits<int64_t>::min(),
                             std::numeric_limits<int64_t>::max()};
  for (int64_t v : kValues) {
    CAPTURE(v);
    WireWriter w;
    w.integer(5, v);
    w.number(100, -2.5f);
    const std::string bytes = w.take();
    WireReader r(bytes);
    REQUIRE(r.next());
    CHECK(r.field() == 5);
    CHECK(r.integer() == v);
    REQUIRE(r.next());
    CHECK(r.field() == 100);
    CHECK(r.number() == -2.5f);
    CHECK(!r.next());
  }
}

TEST_CASE("wire format: repeated numbers, packed and one by one") {
  std::vector<int64_t> integers;
  std::vector<float> numbers;
  WireWriter w;
  w.integer(1, 7);
  w.bytes(1, std::string("\x08\x96\x01", 3));                      // 8, 150
  w.bytes(2, std::string("\x00\x00\x80\x3f\x00\x00\x00\x40", 8));  // 1, 2
  w.number(2, 3);
  const std::string bytes = w.take();
  for (WireReader r(bytes); r.next();) {
    if (r.field() == 1) r.append(integers);
    if (r.field() == 2) r.append(numbers);
  }
  CHECK(integers == std::vector<int64_t>{7, 8, 150});
  CHECK(numbers == std::vector<float>{1, 2, 3});
}

TEST_CASE("wire format: broken messages are errors") {
  const auto read = [](const std::string& bytes) {
    return message_of([&] {
      for (WireReader r(bytes); r.next();) r.integer();
    });
  };
  CHECK(contains(read("\x08"), "0 are left"));                  // no value
  CHECK(contains(read("\x12\x07test"), "a field of 7 bytes"));  // cut off
  CHECK(contains(read("\x0b"), "wire type 3"));                 // groups are not used
  CHECK(contains(read("\x12\x01x"), "should be an integer"));   // another type
  CHECK(contains(read(std::string("\x00\x01", 2)), "field number 0"));
  CHECK(contains(read("\x08" + std::string(11, '\xff')), "more than ten bytes"));
}
