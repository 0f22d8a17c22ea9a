// ONNX's own test vectors, from Debian's libonnx-testdata, for every operator that is imported.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <map>
#include <set>

#include "core/autograd.h"
#include "core/files.h"
#include "deploy/onnx/import.h"

using namespace pare;
using namespace pare::onnx;
namespace fs = std::filesystem;

namespace {

const fs::path kData = "/usr/share/libonnx-testdata/data";

Tensor tensor_of(const TensorData& t) {
  const std::vector<int64_t> dims = t.dims.empty() ? std::vector<int64_t>{1} : t.dims;
  const Tensor x = Tensor::of(float_values(t), Shape(dims));
  return x.dims() == 4 ? nchw_to_nhwc(x) : x;
}

/// The model with all inputs but the first as constants: node tests hand weights over as inputs.
ModelProto with_constants(ModelProto model, const fs::path& vectors) {
  std::vector<ValueInfo>& inputs = model.graph.inputs;
  for (size_t k = 1; k < inputs.size(); ++k) {
    const fs::path file = vectors / ("input_" + std::to_string(k) + ".pb");
    if (!fs::exists(file)) continue;  // an initializer already
    TensorData t = parse_tensor(read_file(file));
    t.name = inputs[k].name;
    model.graph.initializers.push_back(t);
  }
  return model;
}

/// The largest difference, in units of the tolerance 1e-4 max(1, |value|).
double worst(const Tensor& y, const Tensor& expected) {
  if (y.shape() != expected.shape()) return 1e9;
  double largest = 0;
  for (int64_t i = 0; i < y.numel(); ++i) {
    const double a = y.data()[i], b = expected.data()[i];
    if (a == b) continue;
    largest = std::max(largest, std::fabs(a - b) / (1e-4 * std::max(1.0, std::fabs(b))));
  }
  return largest;
}

struct Tally {
  int passed = 0, refused = 0;
  std::map<std::string, int> by_operator;
};

void run_case(const fs::path& folder, const std::set<std::string>& known, Tally& tally) {
  const ModelProto model = parse_model(read_file(folder / "model.onnx"), folder.filename());
  std::set<std::string> ops;
  for (const NodeProto& n : model.graph.nodes) ops.insert(n.op);
  if (ops.empty() || !std::includes(known.begin(), known.end(), ops.begin(), ops.end())) return;
  const fs::path vectors = folder / "test_data_set_0";
  CAPTURE(folder.string());
  Imported net;
  Tensor y;
  try {
    net = import_model(with_constants(model, vectors));
    const NoGrad guard;
    y = net.model(tensor_of(parse_tensor(read_file(vectors / "input_0.pb"))));
  } catch (const Error& e) {  // refused, with its reason
    const std::string what = e.what();
    CAPTURE(what);
    CHECK((what.starts_with("onnx: ") || what.find("\n  in      ") != std::string::npos));
    ++tally.refused;
    return;
  }
  const double gap = worst(y, tensor_of(parse_tensor(read_file(vectors / "output_0.pb"))));
  CHECK(gap <= 1);
  ++tally.passed;
  for (const std::string& op : ops) ++tally.by_operator[op];
}

}  // namespace

TEST_CASE("onnx: the test vectors of every supported operator") {
  if (!fs::exists(kData)) {
    std::cout << "skipped: libonnx-testdata is not installed, ONNX's test vectors are not run\n";
    return;
  }
  const std::vector<std::string> operators = supported_operators();
  const std::set<std::string> known(operators.begin(), operators.end());
  Tally tally;
  for (const char* group : {"node", "simple", "pytorch-converted", "pytorch-operator"}) {
    for (const auto& entry : fs::directory_iterator(kData / group)) {
      if (fs::exists(entry.path() / "model.onnx")) run_case(entry.path(), known, tally);
    }
  }
  CHECK(tally.passed > 150);
  for (const std::string& op : operators) {
    CAPTURE(op);
    CHECK(tally.by_operator[op] > 0);
  }
}
