#include "core/rng.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

using namespace pare;

TEST_CASE("Philox4x32-10 gives the published known answers") {
  // Random123's kat_vectors, counter and key all zero, all one, and digits of pi (two-word counters
  // only).
  CHECK(Rng::block(0, 0) ==
        std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
}

TEST_CASE("a state restores the sequence, in the middle of a block too") {
  Rng rng(42);
  for (int i = 0; i < 7; ++i) rng.next();
  const Rng::State at = rng.state();
  std::vector<uint32_t> first, again;
  for (int i = 0; i < 10; ++i) first.push_back(rng.next());
  rng.set_state(at);
  for (int i = 0; i < 10; ++i) again.push_back(rng.next());
  CHECK(first == again);
}

TEST_CASE("streams do not depend on how much of the parent was used") {
  Rng fresh(1), used(1);
  used.next();
  CHECK(fresh.split(3).next() == used.split(3).next());
  CHECK(fresh.split(3).next() != fresh.split(4).next());
  CHECK(Rng(1).next() != Rng(2).next());
}

TEST_CASE("below is uniform, shuffle is a permutation") {
  Rng rng(7);
  std::vector<int> counts(6);
  for (int i = 0; i < 60000; ++i) ++counts[static_cast<size_t>(rng.below(6))];
  for (int c : counts) CHECK(std::abs(c - 10000) < 500);  // over five standard deviations
  std::vector<int> items(100);
  for (int i = 0; i < 100; ++i) items[static_cast<size_t>(i)] = i;
  std::vector<int> shuffled = items;
  rng.shuffle(shuffled);
  CHECK(shuffled != items);
  std::sort(shuffled.begin(), shuffled.end());
  CHECK(shuffled == items);
}
