#include "core/kernels/permute.h"

#include <doctest/doctest.h>

#include <numeric>
#include <vector>

#include "tests/support/isa.h"

using namespace pare;
using namespace pare::test;

TEST_CASE("strided and indexed gathers move every value to its place on every ISA") {
  for_each_isa([](std::string_view isa) {
    for (int64_t n : lengths_around_lanes()) {
      for (int64_t stride : {1, 3, 64}) {
        CAPTURE(isa);
        CAPTURE(n);
        Rng rng(static_cast<uint64_t>(n));
        const Unaligned x(n * stride, rng, -1, 1);
        Unaligned y(n);
        kernels::gather_strided(x.data(), stride, y.data(), n);
        for (int64_t i = 0; i < n; ++i) CHECK(y[i] == x[i * stride]);
        CHECK(y.intact());
      }
    }
  });
}

TEST_CASE("shuffle_columns transposes the groups of every row on every ISA") {
  for_each_isa([](std::string_view isa) {
    for (int64_t groups : {1, 2, 3, 4, 8, 37}) {
      for (int64_t each : {1, 2, 3, 4, 16, 33, 64}) {
        CAPTURE(isa);
        CAPTURE(groups);
        CAPTURE(each);
        const kernels::Shuffle order(groups, each);
        const int64_t n = order.size();
        Rng rng(7);
        const Unaligned x(3 * n, rng, -1, 1);
        Unaligned y(3 * n), back(3 * n);
        kernels::shuffle_columns(order, x.data(), y.data(), 3);
        kernels::shuffle_columns(order.inverse(), y.data(), back.data(), 3);
        bool right = true;
        for (int64_t r = 0; r < 3; ++r) {
          for (int64_t k = 0; k < each; ++k) {
            for (int64_t g = 0; g < groups; ++g) {
              right = right && y[r * n + k * groups + g] == x[r * n + g * each + k];
            }
          }
        }
        CHECK(right);
        for (int64_t i = 0; i < 3 * n; ++i) CHECK(back[i] == x[i]);
        CHECK(y.intact());
        CHECK(back.intact());
      }
    }
  });
}

TEST_CASE("transpose moves every value to its place on every ISA") {
  for_each_isa([](std::string_view isa) {
    for (int64_t rows : {1, 5, 16, 65, 130}) {
      for (int64_t columns : {1, 7, 16, 33}) {
        CAPTURE(isa);
        CAPTURE(rows);
        CAPTURE(columns);
        const int64_t x_stride = columns + 2, y_stride = rows + 1;
        Rng rng(3);
        const Unaligned x(rows * x_stride, rng, -1, 1);
        Unaligned y(columns * y_stride);
        kernels::transpose(x.data(), x_stride, rows, columns, y.data(), y_stride);
        for (int64_t i = 0; i < rows; ++i) {
          for (int64_t j = 0; j < columns; ++j) {
            CHECK(y[j * y_stride + i] == x[i * x_stride + j]);
          }
        }
        CHECK(y.intact());
      }
    }
  });
}
