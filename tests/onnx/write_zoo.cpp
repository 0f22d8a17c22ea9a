// Writes every model as ONNX files with an input and what this library computes from it, for
// scripts/check_onnx to run elsewhere.    write_zoo FOLDER
#include <algorithm>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "deploy/onnx/export.h"
#include "tests/onnx/zoo.h"

using namespace pare;
using test::ZooCase;
using Json = nlohmann::json;

namespace {

struct Form {
  std::string name, scheme;
  onnx::ExportOptions options = {};
};

std::vector<Form> forms() {
  const std::string w8a8 = "uniform:W8A8,keep=none";
  return {{"float", "", {}},
          {"float_bn", "", {.opset = 17, .fold_bn = false}},
          {"qdq", w8a8, {.qdq = true}},
          {"qdq_exact", w8a8, {.qdq = true, .fill = false}},
          {"qdq_symmetric", w8a8, {.opset = 17, .qdq = true, .symmetric = true}},
          {"qdq_w4a4", "lsq:W4A4", {.qdq = true}},
          {"qdq_int4", "lsq:W4A8,keep=none", {.opset = 21, .qdq = true, .int4 = true}},
          {"dorefa", "wqaq:W4A4", {.qdq = true}},
          {"binary", "wbab:W2A2", {.qdq = true}}};
}

std::string raw(const Tensor& t) {
  return {reinterpret_cast<const char*>(t.data()), static_cast<size_t>(t.numel()) * sizeof(float)};
}

Json write(const ZooCase& c, const Form& form, const std::string& folder) {
  nn::Layer model = test::zoo_model(c);
  if (!form.scheme.empty()) test::quantize_zoo(model, c, form.scheme);
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
          {"integer_layers", file.report.integer_layers},
          {"added_quantizers", file.report.added_quantizers},
          {"notes", file.report.notes}};
}

}  // namespace

int main(int argc, char** argv) try {
  PARE_CHECK(argc == 2, "usage: write_zoo FOLDER");
  const std::string folder = argv[1];
  Json all = Json::array();
  for (const ZooCase& c : test::zoo()) {
    for (const Form& form : forms()) {
      // Binary activations take the place of nonlinearities, which these orders have none of there.
      const bool nin = c.name.starts_with("nin");
      if ((form.name == "binary" || form.name == "dorefa") && !nin) continue;
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
