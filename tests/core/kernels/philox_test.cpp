#include "core/kernels/philox.h"

#include <doctest/doctest.h>

#include <vector>

#include "core/kernels/ref.h"
#include "tests/support/isa.h"

using namespace pare;
using namespace pare::test;

TEST_CASE("philox gives the numbers of Rng, from any position, on every ISA") {
  for_each_isa([](std::string_view isa) {
    // The third start is where the lower 32 bits of the block number run over.
    for (uint64_t counter : {uint64_t{0}, uint64_t{5}, (uint64_t{1} << 34) - 9}) {
      for (int64_t n : lengths_around_lanes()) {
        CAPTURE(isa);
        CAPTURE(counter);
        CAPTURE(n);
        const uint64_t key = Rng(17).key();
        std::vector<uint32_t> numbers(static_cast<size_t>(n) + 1, 99);
        kernels::philox(key, counter, numbers.data(), n);
        CHECK(numbers.back() == 99);
        numbers.pop_back();
        CHECK(numbers == ref::philox(key, counter, n));
      }
    }
  });
}

TEST_CASE("dropout keeps what the numbers say on every ISA") {
  for_each_isa([](std::string_view isa) {
    std::vector<int64_t> lengths = lengths_around_lanes();
    lengths.push_back(3001);  // more than one chunk of numbers
    for (int64_t n : lengths) {
      for (float p : {0.0f, 0.3f, 0.5f}) {
        CAPTURE(isa);
        CAPTURE(n);
        CAPTURE(p);
        Rng rng(23);
        const Unaligned x(n, rng, 1, 2);
        Unaligned y(n), in_place = x;
        const Rng::State at = rng.state();
        kernels::dropout(x.data(), p, at.key, at.counter, y.data(), n);
        kernels::dropout(in_place.data(), p, at.key, at.counter, in_place.data(), n);
        for (int64_t i = 0; i < n; ++i) {
          CHECK(y[i] == (rng.uniform() < p ? 0.0f : x[i] * (1 / (1 - p))));
          CHECK(in_place[i] == y[i]);
        }
        CHECK((y.intact() && in_place.intact()));
      }
    }
  });
}
