// Writes every model as ONNX files with an input and what this library computes from it, for
// scripts/check_onnx to run elsewhere.    write_zoo FOLDER [NAME...]
#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "tests/onnx/forms.h"

using namespace pare;
using test::Form;
using test::ZooCase;
using Json = nlohmann::json;

namespace {

std::string raw(const Tensor& t) {
  return {reinterpret_cast<const char*>(t.data()), static_cast<size_t>(t.numel()) * sizeof(float)};
}

/// What quantization costs: the root of the mean square by which outputs move.
double rms_gap(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    sum += std::pow(double{a.data()[i]} - double{b.data()[i]}, 2);
  }
  return std::sqrt(sum / static_cast<double>(a.numel()));
}

/// The step of an output that is quantized; 0: it is not.
float output_step(const onnx::GraphProto& g) {
  const onnx::NodeProto& last = g.nodes.back();
  if (last.op != "DequantizeLinear") return 0;
  const auto scale = std::find_if(g.initializers.begin(), g.initializers.end(),
                                  [&](const auto& t) { return t.name == last.inputs[1]; });
  return onnx::float_values(*scale).at(0);
}

Json write(const ZooCase& c, const Form& form, const std::string& folder) {
  nn::Layer model = test::zoo_model(c, form), plain = test::zoo_model(c);
  const onnx::Exported file = onnx::export_model(model, test::zoo_images(c, 16, 12), form.options);
  const Tensor x = test::zoo_images(c, 8, 13);
  const NoGrad guard;
  const Tensor y = model(x);
  const std::string name = test::title(c) + "-" + form.name;
  write_file_atomically(folder + "/" + name + ".onnx", {onnx::to_bytes(file.model)});
  write_file_atomically(folder + "/" + name + ".in", {raw(nhwc_to_nchw(x))});
  write_file_atomically(folder + "/" + name + ".out", {raw(y)});
  const Shape& s = x.shape();
  return {{"name", name},
          {"form", form.name},
          {"input", {s[0], s[3], s[1], s[2]}},
          {"output", std::vector<int64_t>(y.shape().begin(), y.shape().end())},
          {"layers", file.report.layers},
          {"noise", rms_gap(y, plain(x))},
          {"step", output_step(file.model.graph)},
          {"integer_layers", file.report.integer_layers},
          {"added_quantizers", file.report.added_quantizers},
          {"notes", file.report.notes}};
}

}  // namespace

int main(int argc, char** argv) try {
  PARE_CHECK(argc >= 2, "usage: write_zoo FOLDER [NAME...]");
  const std::string folder = argv[1];
  Json all = Json::array();
  for (const ZooCase& c : test::zoo()) {
    for (const Form& form : test::forms()) {
      const std::string name = test::title(c) + "-" + form.name;
      const auto fits = [&](const char* part) { return name.find(part) != std::string::npos; };
      if (argc > 2 && std::none_of(argv + 2, argv + argc, fits)) continue;
      if (!test::takes(c, form)) continue;
      all.push_back(write(c, form, folder));
    }
  }
  write_file_atomically(folder + "/zoo.json", {all.dump(1)});
  std::cout << all.size() << " files in " << folder << "\n";
  return 0;
} catch (const std::exception& e) {
  std::cerr << "write_zoo: " << e.what() << "\n";
  return 1;
}
