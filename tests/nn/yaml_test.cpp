#include "nn/yaml.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "tests/support/message.h"

namespace pare {
namespace {

using nn::Yaml;
using test::contains, test::message_of;

constexpr const char* kFile =
    "# a comment\n"
    "SCHEDULE:\n"
    "  FUSE_BN: True\n"
    "W:\n"
    "  BIT: 4\n"
    "  ALPHA: 1.5e-3\n"
    "  SPECIFIC: [{\"conv1\": 8}, {\"layer*\": 4}]\n"
    "A:\n";

TEST_CASE("yaml: values come with their kind, line and path") {
  const Yaml y = Yaml::parse(kFile, "q.yaml");
  CHECK(y.is_map());
  REQUIRE(y.entries().size() == 3);
  CHECK(y.entries()[1].key == "W");
  CHECK(y.entries()[1].line == 4);
  CHECK(y.at("SCHEDULE").at("FUSE_BN").boolean());
  CHECK(y.at("W").at("BIT").integer(2, 16) == 4);
  CHECK(y.at("W").at("ALPHA").number(0, 1) == 1.5e-3);
  const auto& specific = y.at("W").at("SPECIFIC").items();
  REQUIRE(specific.size() == 2);
  CHECK(specific[1].entries()[0].key == "layer*");
  CHECK(specific[1].path() == "W.SPECIFIC[1]");
  CHECK(specific[1].line() == 7);
  CHECK(y.at("A").is_null());
  CHECK(y.at("A").entries().empty());
  CHECK(y.find("B") == nullptr);
  CHECK(Yaml::parse("", "e.yaml").entries().empty());
}

TEST_CASE("yaml: an unknown key is met with its line, the nearest name and the known ones") {
  const Yaml y = Yaml::parse(kFile, "q.yaml");
  const std::string message = message_of([&] {
    y.at("W").check_keys({"BITS", "ALPHA", "SPECIFIC"});
  });
  CHECK(contains(message, "q.yaml:5: unknown key W.BIT. Did you mean BITS?"));
  CHECK(contains(message, "known here: BITS, ALPHA, SPECIFIC"));
  CHECK_NOTHROW(y.check_keys({"A", "W", "SCHEDULE"}));
}

TEST_CASE("yaml: wrong values say what was expected, and where") {
  const Yaml y = Yaml::parse(kFile, "q.yaml");
  const Yaml &w = y.at("W"), &bit = w.at("BIT");
  CHECK(message_of([&] { bit.integer(5, 8); }) ==
        "q.yaml:5: W.BIT: expected a whole number from 5 to 8, got '4'");
  CHECK(contains(message_of([&] { w.at("ALPHA").integer(0, 9); }), "whole number"));
  CHECK(contains(message_of([&] { bit.boolean(); }), "expected true or false, got '4'"));
  CHECK(contains(message_of([&] { bit.items(); }), "expected a list, got '4'"));
  CHECK(contains(message_of([&] { w.text(); }), "expected a single value, got keys and values"));
  CHECK(contains(message_of([&] { y.at("A").text(); }), "q.yaml:8: A: expected"));
  CHECK(contains(message_of([&] { y.at("B"); }), "q.yaml:2: the key B is missing"));
  CHECK(contains(message_of([&] { bit.word({"4x", "8"}); }), "one of 4x, 8"));
  for (const char* text : {"nan", "inf", "1e999", "3,5", "0x10", "''"}) {
    const Yaml n = Yaml::parse(std::string("x: ") + text, "n.yaml");
    CHECK_MESSAGE(contains(message_of([&] { n.at("x").number(-1, 100); }), "expected a number"),
                  text);
  }
}

TEST_CASE("yaml: what is no YAML, or not one tree of it, is refused with the line") {
  CHECK(contains(message_of([] { Yaml::parse("a: 1\nb: [1, 2\n", "q.yaml"); }), "q.yaml:3: "));
  CHECK(contains(message_of([] { Yaml::parse("a: 1\n b: 2\n", "q.yaml"); }), "is not YAML"));
  CHECK(contains(message_of([] { Yaml::parse("a: 1\nb: 2\na: 3\n", "q.yaml"); }),
                 "q.yaml:3: the key a is there twice\n  hint    it was first in line 1"));
  CHECK(contains(message_of([] { Yaml::parse("a: 1\n---\nb: 2\n", "q.yaml"); }), "2 documents"));
  CHECK(contains(message_of([] { Yaml::parse("? [1, 2]\n: 3\n", "q.yaml"); }), "plain word"));
  CHECK(contains(message_of([] { Yaml::load("/no/such/file.yaml"); }), "/no/such/file.yaml"));
}

TEST_CASE("yaml: aliases are copies; one that never ends is an error") {
  const Yaml y = Yaml::parse("a: &x {b: 1}\nc: *x\n", "q.yaml");
  CHECK(y.at("c").at("b").integer(0, 9) == 1);
  CHECK(y.at("c").at("b").path() == "c.b");
  CHECK(contains(message_of([] { Yaml::parse("a: &x [*x]\n", "q.yaml"); }), "levels deep"));
  std::string laughs = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n";
  for (int i = 1; i < 9; ++i) {
    laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int k = 0; k < 10; ++k) laughs += (k ? ", *a" : "*a") + std::to_string(i - 1);
    laughs += "]\n";
  }
  CHECK(contains(message_of([&] { Yaml::parse(laughs, "q.yaml"); }), "more than 200000 values"));
}

}  // namespace
}  // namespace pare
