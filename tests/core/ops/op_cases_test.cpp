// What every op must satisfy, for every row of the table.

#include "tests/support/op_cases.h"

#include <doctest/doctest.h>

#include <cstring>

#include "core/deferred.h"
#include "core/parallel.h"
#include "tests/support/close.h"
#include "tests/support/gradcheck.h"
#include "tests/support/isa.h"

using namespace pare;
using namespace pare::test;

namespace {

struct Result {
  Tensor y;
  std::vector<Tensor> gradients;
};

/// Forward and backward with inputs and a seed that depend on the row alone.
Result run(const OpCase& op, const std::vector<Shape>& shapes) {
  Rng rng(41);
  std::vector<Tensor> x = draw_inputs(op, shapes, rng);
  for (Tensor& t : x) t.requires_grad_();
  Result result{op.f(x), {}};
  result.y.backward(Tensor::uniform(result.y.shape(), rng, -1, 1));
  for (const Tensor& t : x) result.gradients.push_back(t.grad());
  return result;
}

const std::vector<Shape>& large(const OpCase& op) {
  return op.traits.large.empty() ? op.inputs : op.traits.large;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() &&
         std::memcmp(a.data(), b.data(), static_cast<size_t>(a.numel()) * sizeof(float)) == 0;
}

struct RestoreThreads {
  int before = num_threads();
  ~RestoreThreads() { set_num_threads(before); }
};
struct RestoreFusion {
  bool before = fusion_enabled();
  ~RestoreFusion() { set_fusion(before); }
};

}  // namespace

TEST_CASE("backward is the derivative of forward") {
  for (const OpCase& op : kOpCases) {
    if (op.traits.surrogate) continue;
    CAPTURE(op.name);
    Rng rng(7);
    const Gap gap = gradcheck(op, rng);
    // Third derivatives times eps^2 / 6, and 1e-7 / eps of rounding.
    CHECK_MESSAGE(gap.relative < 2e-3, gap);
  }
}

TEST_CASE("every input of every op gets a gradient") {
  for (const OpCase& op : kOpCases) {
    CAPTURE(op.name);
    for (const Tensor& g : run(op, op.inputs).gradients) CHECK(g);
  }
}

TEST_CASE("values and gradients are the same bits for any number of threads") {
  RestoreThreads restore;
  for (const OpCase& op : kOpCases) {
    CAPTURE(op.name);
    set_num_threads(1);
    const Result one = run(op, large(op));
    for (int threads : {2, 5}) {
      CAPTURE(threads);
      set_num_threads(threads);
      const Result many = run(op, large(op));
      CHECK(same_bits(many.y, one.y));
      for (size_t i = 0; i < one.gradients.size(); ++i) {
        CAPTURE(i);
        CHECK(same_bits(many.gradients[i], one.gradients[i]));
      }
    }
  }
}

TEST_CASE("all ISAs agree") {
  // Sums in other orders, and multiply-adds that round once or twice.
  constexpr Tolerance kClose = {.absolute = 1e-6, .relative = 1e-5};
  for (const OpCase& op : kOpCases) {
    CAPTURE(op.name);
    Result first;
    for_each_isa([&](std::string_view isa) {
      CAPTURE(isa);
      const Result result = run(op, op.inputs);
      if (!first.y) first = result;
      CHECK(close(result.y, first.y, kClose));
      for (size_t i = 0; i < first.gradients.size(); ++i) {
        CAPTURE(i);
        CHECK(close(result.gradients[i], first.gradients[i], kClose));
      }
    });
  }
}

TEST_CASE("fusion changes nothing but rounding") {
  RestoreFusion restore;
  constexpr Tolerance kClose = {.absolute = 1e-7, .relative = 2e-6};
  for (const OpCase& op : kOpCases) {
    CAPTURE(op.name);
    set_fusion(false);
    const Result plain = run(op, op.inputs);
    set_fusion(true);
    const Result fused = run(op, op.inputs);
    CHECK(close(fused.y, plain.y, kClose));
    for (size_t i = 0; i < plain.gradients.size(); ++i) {
      CAPTURE(i);
      CHECK(close(fused.gradients[i], plain.gradients[i], kClose));
    }
  }
}
