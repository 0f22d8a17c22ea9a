#include "deploy/onnx/model.h"

#include <doctest/doctest.h>

#include "deploy/onnx/wire.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::onnx;
using test::contains;
using test::message_of;

TEST_CASE("onnx: a model written and read is the same") {
  ModelProto m{.ir_version = 10, .opsets = {{"", 21}, {"com.microsoft", 1}}};
  m.metadata = {{"dataset", "cifar10"}};
  m.graph.name = "g";
  m.graph.inputs = {{.name = "input", .dims = {{.symbol = "N"}, {.size = 3}}}};
  m.graph.outputs = {{.name = "y", .type = Type::int8}};
  m.graph.initializers = {floats("w", {2, 1}, {1.5f, -2}), integers("q", Type::int8, {}, {-7})};
  m.graph.nodes = {{.op = "Conv",
                    .name = "conv1",
                    .inputs = {"input", "w", ""},
                    .outputs = {"y"},
                    .attributes = {{"group", int64_t{2}},
                                   {"alpha", 0.5f},
                                   {"mode", std::string("same")},
                                   {"value", integers("", Type::int64, {1}, {4})},
                                   {"pads", std::vector<int64_t>{1, -1}},
                                   {"scales", std::vector<float>{1, 2}}},
                    .note = "bits: 4",
                    .metadata = {{"bits", "4"}}}};
  const std::string bytes = to_bytes(m);
  const ModelProto again = parse_model(bytes, "test");
  CHECK(to_bytes(again) == bytes);
  CHECK(again.opset() == 21);
  CHECK(again.metadata.at("dataset") == "cifar10");
  CHECK(again.graph.inputs[0].dims[0].symbol == "N");
  CHECK(again.graph.inputs[0].dims[1].size == 3);
  const NodeProto& n = again.graph.nodes.at(0);
  CHECK(n.inputs == std::vector<std::string>{"input", "w", ""});
  CHECK(std::get<int64_t>(n.find("group")->value) == 2);
  CHECK(std::get<std::vector<int64_t>>(n.find("pads")->value) == std::vector<int64_t>{1, -1});
  CHECK(n.find("nothing") == nullptr);
  CHECK(n.metadata.at("bits") == "4");
  CHECK(integer_values(again.graph.initializers[1]) == std::vector<int64_t>{-7});
}

TEST_CASE("onnx: metadata of nodes only where the version knows it") {
  ModelProto m;
  m.graph.nodes = {{.op = "Relu", .name = "r", .inputs = {"x"}, .outputs = {"y"}}};
  m.graph.nodes[0].metadata = {{"bits", "4"}};
  CHECK(parse_model(to_bytes(m), "test").graph.nodes[0].metadata.empty());
}

TEST_CASE("onnx: integers of every type keep their values, and refuse others") {
  for (Type t : {Type::int8, Type::int16, Type::int32, Type::int64, Type::int4}) {
    CAPTURE(type_name(t));
    const std::vector<int64_t> values = {-8, 7, 0, -1, 3};
    CHECK(integer_values(integers("t", t, {5}, values)) == values);
  }
  for (Type t : {Type::uint8, Type::uint16, Type::uint4}) {
    CAPTURE(type_name(t));
    const std::vector<int64_t> values = {15, 0, 8};
    CHECK(integer_values(integers("t", t, {3}, values)) == values);
    CHECK(contains(message_of([&] { integers("t", t, {1}, {-1}); }), "t holds -1"));
  }
  const TensorData four = integers("t", Type::int4, {3}, {1, -2, 3});
  CHECK(four.bytes == std::string("\xe1\x03"));  // the first one in the low half
  CHECK(contains(message_of([] { integers("t", Type::int8, {1}, {128}); }), "no int8"));
}

TEST_CASE("onnx: values in the fields of older writers") {
  const auto tensor = [](int64_t type, auto&& values) {
    WireWriter w;
    w.integer(1, 2);
    w.integer(2, type);
    values(w);
    return parse_tensor(w.take());
  };
  const auto number = tensor(1, [](WireWriter& w) { w.number(4, 1), w.number(4, -3); });
  CHECK(float_values(number) == std::vector<float>{1, -3});
  const auto bytes = tensor(3, [](WireWriter& w) { w.integer(5, -4), w.integer(5, 5); });
  CHECK(integer_values(bytes) == std::vector<int64_t>{-4, 5});
  const auto halves = tensor(10, [](WireWriter& w) { w.integer(5, 0x3c00), w.integer(5, 0xc400); });
  CHECK(float_values(halves) == std::vector<float>{1, -4});
}

TEST_CASE("onnx: what is no model is an error with the file's name") {
  CHECK(contains(message_of([] { parse_model("not a model at all", "x.onnx"); }), "x.onnx: "));
  CHECK(contains(message_of([] { parse_model("", "x.onnx"); }), "it holds no graph"));
  ModelProto m;
  m.graph.initializers = {floats("w", {4}, {1, 2, 3, 4})};
  std::string bytes = to_bytes(m);
  CHECK(!message_of([&] { parse_model(bytes.substr(0, 20), "x.onnx"); }).empty());
  m.graph.initializers[0].bytes.pop_back();
  CHECK(contains(message_of([&] { float_values(m.graph.initializers[0]); }), "has 15 bytes"));
}
