#pragma once
// The forms in which tests export the models of zoo.h.

#include <string>
#include <vector>

#include "deploy/onnx/export.h"
#include "tests/onnx/zoo.h"

namespace pare::test {

struct Form {
  std::string name, scheme;
  onnx::ExportOptions options = {};
};

inline std::vector<Form> forms() {
  const std::string w8a8 = "uniform:W8A8,keep=none";
  return {{"float", "", {}},
          {"float_bn", "", {.opset = 17, .fold_bn = false}},
          {"qdq", w8a8, {.qdq = true}},
          {"qdq_exact", w8a8, {.qdq = true, .fill = false}},
          {"qdq_symmetric", w8a8, {.opset = 17, .qdq = true, .symmetric = true}},
          {"qdq_w4a4", "lsq:W4A4", {.qdq = true}},
          {"qdq_int4", "lsq:W4A8,keep=none", {.opset = 21, .qdq = true, .int4 = true}},
          {"dorefa", "wqaq:W4A4", {.qdq = true}},
          {"binary", "wbab:W2A2", {.qdq = true}},
          {"ternary", "wbab:W3A3", {.qdq = true}},
          {"xnor", "wbab:W2A2,xnor=on", {.opset = 21, .qdq = true}}};
}

/// Experiments are about networks of one kind.
inline bool takes(const ZooCase& c, const Form& form) {
  const bool experiment = form.scheme.starts_with('w');
  return !experiment || c.name.starts_with("nin");
}

/// The model of a case, quantized as a form says.
inline nn::Layer zoo_model(const ZooCase& c, const Form& form) {
  nn::Layer model = zoo_model(c);
  if (!form.scheme.empty()) quantize_zoo(model, c, form.scheme);
  return model;
}

}  // namespace pare::test
