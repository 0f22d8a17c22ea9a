#pragma once
// a + b, a - b, a * b, a / b over rows, either operand broadcast along the row or over rows.

#include <cstdint>

namespace pare::kernels {

enum class Arithmetic : uint8_t { add, sub, mul, div };

/// An operand: element (r, i) is data[r * row + i * step]. step is 1, or 0 for one value per row.
struct Operand {
  const float* data;
  int64_t row = 0;
  int64_t step = 1;
};

/// y[r, i] = a[r, i] op b[r, i]. y is dense and may be a or b where that operand is dense too.
void arithmetic(Arithmetic op, Operand a, Operand b, float* y, int64_t rows, int64_t n) noexcept;

/// y[i] += x[i]
void accumulate(const float* x, float* y, int64_t n) noexcept;

}  // namespace pare::kernels
