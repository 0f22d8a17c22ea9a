#pragma once
// Operand lines of error messages: "\n  x       [8, 28, 28, 64]".

#include <algorithm>
#include <string>

#include "core/error.h"
#include "core/tensor.h"

namespace pare {

inline std::string operand(const char* name, const Tensor& t) {
  std::string label = name;
  label.resize(std::max<size_t>(label.size() + 1, 8), ' ');
  return str("\n  ", label, t ? t.shape().str() : "(empty)");
}

}  // namespace pare
