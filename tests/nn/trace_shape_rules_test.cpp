// How channels pass ops that move them about.
#include <doctest/doctest.h>

#include "nn/layers.h"
#include "tests/nn/odd_net.h"
#include "tests/nn/traced.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::nn;
using namespace pare::test;

TEST_CASE("channels: concat of three, of different widths") {
  const Traced t(
      OddNet({{"a", conv(3, 2)}, {"b", conv(3, 3)}, {"c", conv(3, 4)}, {"d", conv(9, 2)}},
             [](const Parts& p, const Tensor& x) {
               return p["d"](concat({p["a"](x), relu(p["b"](x)), p["c"](x)}));
             }),
      image());
  CHECK(t.removable() == Lines{"2: a", "3: b", "4: c"});
  CHECK(t.axis("d.weight", 3).units == joined({t.of("a"), t.of("b"), t.of("c")}));
}

TEST_CASE("channels: a concat in the middle of a sum cuts groups apart") {
  const Traced t(
      OddNet({{"a", conv(3, 2)}, {"b", conv(3, 3)}, {"c", conv(3, 5)}, {"d", conv(5, 2)}},
             [](const Parts& p, const Tensor& x) {
               return p["d"](concat({p["a"](x), p["b"](x)}) + p["c"](x));
             }),
      image());
  CHECK(t.removable() == Lines{"2: a c", "3: b c"});
  CHECK(part(t.of("c"), 0, 2) == t.of("a"));
  CHECK(part(t.of("c"), 2, 5) == t.of("b"));
}

TEST_CASE("channels: group, shuffle, group") {
  const Traced t(
      Sequential({conv(3, 8), conv(8, 12, 2), ChannelShuffle(2), conv(12, 6, 3), conv(6, 2)}),
      image());
  CHECK(t.removable() == Lines{"12: 1", "6: 3", "8: 0"});
  const Channels::Axis& in = t.axis("1.weight", 3);
  CHECK(in.groups == 2);
  CHECK(in.units == t.of("0"));  // eight channels, four places in each of two groups
  const Units& made = t.of("1");
  const Units& mixed = t.of("2");
  CHECK(mixed == Units{made[0], made[6], made[1], made[7], made[2], made[8], made[3], made[9],
                       made[4], made[10], made[5], made[11]});
  CHECK(t.axis("3.weight", 3).units == mixed);

  std::vector<std::pair<std::string, size_t>> blocks;
  for (const Channels::Blocks& b : t.channels.blocks) {
    blocks.push_back({t.graph[b.node].name, b.units.size()});
  }
  using Cut = std::pair<std::string, size_t>;
  CHECK(blocks == std::vector<Cut>{{"1", 2}, {"1", 2}, {"2", 2}, {"3", 3}, {"3", 3}});
  CHECK(t.channels.blocks[3].units[0] == part(mixed, 0, 4));
}

TEST_CASE("channels: a linear layer behind flatten reads each channel at every pixel") {
  for (const bool by_hand : {false, true}) {
    CAPTURE(by_hand);
    const Traced t(OddNet({{"conv", conv(3, 4)}, {"fc", Linear({4 * 64, 2})}},
                          [&](const Parts& p, const Tensor& x) {
                            const Tensor h = p["conv"](x);
                            return p["fc"](by_hand ? reshape(h, {h.dim(0), 256}) : flatten(h));
                          }),
                   image());
    CHECK(t.removable() == Lines{"4: conv"});
    const Units& made = t.of("conv");
    const Units& read = t.axis("fc.weight", 1).units;
    REQUIRE(read.size() == 256);
    for (size_t f = 0; f < 256; ++f) CHECK(read[f] == made[by_hand ? f % 4 : f / 64]);
  }
}

TEST_CASE("channels: padding, slices and softmax keep what cannot move") {
  const Traced padded(OddNet({{"a", conv(3, 2)}, {"b", conv(3, 4)}, {"c", conv(4, 2)}},
                             [](const Parts& p, const Tensor& x) {
                               return p["c"](pad(p["a"](x), 3, 1, 1) + p["b"](x));
                             }),
                      image());
  CHECK(padded.removable() == Lines{"2: a b"});
  CHECK(part(padded.of("b"), 1, 3) == padded.of("a"));
  CHECK(padded.why_kept("b") == "padding by pad");

  const Traced sliced(OddNet({{"a", conv(3, 4)}, {"b", conv(2, 2)}},
                             [](const Parts& p, const Tensor& x) {
                               return p["b"](nn::Layer()(pare::slice(p["a"](x), 3, 2, 4)));
                             }),
                      image());
  CHECK(sliced.removable().empty());
  CHECK(sliced.why_kept("a") == "cut at fixed places by slice");
  CHECK(sliced.axis("b.weight", 3).units == part(sliced.of("a"), 2, 4));

  const Traced soft(Sequential({conv(3, 4), conv(4, 2)}), image());
  CHECK(soft.removable() == Lines{"4: 0"});
  const Traced compared(
      OddNet({{"a", conv(3, 4)}, {"b", conv(4, 2)}},
             [](const Parts& p, const Tensor& x) { return p["b"](softmax(p["a"](x))); }),
      image());
  CHECK(contains(compared.why_kept("a"), "channels of softmax"));
}

TEST_CASE("channels: pixels may be padded, sliced, concatenated and summed") {
  const Traced t(OddNet({{"a", conv(3, 4)}, {"b", conv(4, 2)}},
                        [](const Parts& p, const Tensor& x) {
                          Tensor h = pad(p["a"](x), 1, 2, 2);
                          h = concat({h, h}, 2);
                          h = pare::slice(h, 1, 0, 5) * sum(h, {1, 2}, true);
                          return p["b"](h - mean(h, {0}, true));
                        }),
                 image());
  CHECK(t.removable() == Lines{"4: a"});
  CHECK(t.of("sub") == t.of("a"));
}

TEST_CASE("channels: a shuffle written with reshapes is the shuffle") {
  const Traced t(OddNet({{"a", conv(3, 6)}, {"b", conv(6, 2)}},
                        [](const Parts& p, const Tensor& x) {
                          const Tensor h = p["a"](x);
                          const Tensor cut = reshape(h, {1, 8, 8, 2, 3});
                          return p["b"](reshape(cut, {1, 8, 8, 6}));
                        }),
                 image());
  CHECK(t.removable() == Lines{"6: a"});
  CHECK(t.axis("b.weight", 3).units == t.of("a"));
  REQUIRE(t.channels.blocks.size() == 1);
  CHECK(t.channels.blocks[0].units ==
        std::vector<Units>{part(t.of("a"), 0, 3), part(t.of("a"), 3, 6)});
}

TEST_CASE("channels: flatten and its inverse by reshape") {
  const Traced t(OddNet({{"a", conv(3, 4)}, {"b", conv(4, 2)}},
                        [](const Parts& p, const Tensor& x) {
                          return p["b"](reshape(reshape(p["a"](x), {1, 256}), {1, 8, 8, 4}));
                        }),
                 image());
  CHECK(t.of("reshape").size() == 256);
  CHECK(t.of("reshape#2") == t.of("a"));
  CHECK(t.removable() == Lines{"4: a"});
}

TEST_CASE("channels: without a rule everything around stays, and says why") {
  const Traced t(OddNet({{"a", conv(3, 4)}, {"b", Linear({64, 2})}},
                        [](const Parts& p, const Tensor& x) {
                          const Tensor h = reshape(p["a"](x), {64, 4});
                          return p["b"](transpose(h));
                        }),
                 image());
  CHECK(t.removable().empty());
  CHECK(t.why_kept("a") == "no rule for transpose in transpose");

  const Traced uneven(
      OddNet({{"a", conv(3, 4)}, {"b", conv(4, 4)}, {"c", Linear({8, 2})}},
             [](const Parts& p, const Tensor& x) {
               const Tensor h = reshape(p["a"](x), {1, 8, 4, 8});
               return p["c"](mean(h + p["b"](p["a"](x)).view({1, 8, 4, 8}), {1, 2}));
             }),
      image());
  CHECK(uneven.removable() == Lines{"4: a a#2 b"});
  CHECK(uneven.axis("c.weight", 1).units == joined({uneven.of("a"), uneven.of("a")}));
}
