#include <doctest/doctest.h>

#include "tests/apps/run.h"

namespace pare::test {
namespace {

TEST_CASE("info --graph prints a model's ops and channels, and draws it") {
  TempDir dir;
  const std::string info = "pare info --model resnet20 --graph ";
  const std::string ops = run(dir, info + "ops").out;
  CHECK(ops.rfind("node ", 0) == 0);
  CHECK(ops.find("layer1.0.add") != std::string::npos);
  CHECK(ops.find("output: linear") != std::string::npos);
  const std::string channels = run(dir, info + "channels").out;
  CHECK(channels.find("conv1, layer1.0.conv2, layer1.1.conv2 and 1 more") != std::string::npos);
  const std::string dot = run(dir, info + "dot").out;
  CHECK(dot.rfind("digraph model {", 0) == 0);
  CHECK(dot.substr(dot.size() - 2) == "}\n");
  CHECK(run(dir, info + "mermaid").out.rfind("flowchart TD", 0) == 0);
  CHECK(run(dir, info + "dot --json").json()["graph"] == dot);
  CHECK(run(dir, info + "picture").says("--graph"));
  const std::string quantized = run(dir, info + "ops --quant wqaq:W4A4").out;
  CHECK(quantized.find("layer1.0.conv1.weight_fn") != std::string::npos);
}

}  // namespace
}  // namespace pare::test
