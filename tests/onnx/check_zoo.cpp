// Exports every model of the zoo in every form, reads the files again, and lets ONNX's own checker,
// with inference of all shapes and types, look at them if it is there.    check_zoo [NAME...]
#include <algorithm>
#include <cmath>
#include <iostream>
#include <numeric>

#include "deploy/onnx/import.h"
#include "tests/onnx/forms.h"
#ifdef PARE_ONNX_CHECKER
#include <onnx/checker.h>
#include <onnx/shape_inference/implementation.h>
#endif

using namespace pare;

namespace {

struct Verdict {
  bool newer = false;  // than the checker
  std::string wrong = {};
};

#ifdef PARE_ONNX_CHECKER
Verdict official(const pare::onnx::ModelProto& file) {
  if (file.ir_version > ::onnx::Version::IR_VERSION) return {.newer = true};
  ::onnx::ModelProto model;
  if (!model.ParseFromString(pare::onnx::to_bytes(file))) return {.wrong = "it is no ModelProto"};
  try {
    ::onnx::checker::check_model(model);
    const ::onnx::ShapeInferenceOptions strict(true, 1, false);
    ::onnx::shape_inference::InferShapes(model, ::onnx::OpSchemaRegistry::Instance(), strict);
  } catch (const std::exception& e) {
    return {.wrong = e.what()};
  }
  return {};
}
#else
Verdict official(const pare::onnx::ModelProto&) { return {.newer = true}; }
#endif

/// The root of the mean square by which outputs differ.
double gap(const Tensor& a, const Tensor& b) {
  PARE_CHECK(a.shape() == b.shape(), "outputs are ", a.shape(), " and ", b.shape());
  double sum = 0;
  for (int64_t i = 0; i < a.numel(); ++i) sum += std::pow(double{a.data()[i]} - b.data()[i], 2);
  return std::sqrt(sum / static_cast<double>(a.numel()));
}

double spread(const Tensor& y) {
  return gap(y, Tensor::full(y.shape(), std::accumulate(y.data(), y.data() + y.numel(), 0.0f) /
                                            static_cast<float>(y.numel())));
}

/// Reads the file again. Float networks must agree. Where batch norm was folded on one side, a sum
/// next to a boundary may take the other sign or code, and others behind it: networks with signs
/// stay close, those with more codes are only run.
std::string reread(const pare::onnx::ModelProto& file, nn::Layer& model, const test::ZooCase& c,
                   const test::Form& form) {
  try {
    const std::string bytes = pare::onnx::to_bytes(file);
    nn::Layer again = pare::onnx::import_model(pare::onnx::parse_model(bytes, "zoo")).model;
    const Tensor x = test::zoo_images(c, 4, 21);
    const NoGrad guard;
    const Tensor y = model(x);
    const bool signs = form.name == "binary" || form.name == "ternary";
    const double most = form.scheme.empty() ? 1e-2 : signs ? 0.5 : 2.0;
    const double moved = gap(y, again(x)), all = spread(y);
    if (!(moved <= most * all)) return str("read again it differs by ", moved, " of ", all);
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) try {
  int passed = 0, failed = 0, newer = 0;
  for (const test::ZooCase& c : test::zoo()) {
    for (const test::Form& form : test::forms()) {
      const std::string name = test::title(c) + "-" + form.name;
      const auto fits = [&](const char* part) { return name.find(part) != std::string::npos; };
      if (!test::takes(c, form)) continue;
      if (argc > 1 && std::none_of(argv + 1, argv + argc, fits)) continue;
      nn::Layer model = test::zoo_model(c, form);
      const Tensor example = test::zoo_images(c, 16, 12);
      const auto file = pare::onnx::export_model(model, example, form.options).model;
      const Verdict checked = official(file);
      const std::string read = reread(file, model, c, form);
      for (const std::string& wrong : {checked.wrong, read}) {
        if (!wrong.empty()) std::cout << name << ": " << wrong << "\n";
      }
      newer += checked.newer;
      ++(checked.wrong.empty() && read.empty() ? passed : failed);
    }
  }
  std::cout << passed << " files passed, " << failed << " did not\n";
#ifdef PARE_ONNX_CHECKER
  std::cout << newer << " of them have a newer IR version than ONNX's checker knows ("
            << ::onnx::Version::IR_VERSION << ")\n";
#else
  std::cout << "skipped: ONNX's checker, for libonnx-dev is not installed\n";
#endif
  return failed > 0 || passed == 0 ? 1 : 0;
} catch (const std::exception& e) {
  std::cerr << "check_zoo: " << e.what() << "\n";
  return 1;
}
