#include "prune/packed.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "nn/state.h"
#include "prune/codebook.h"
#include "prune/huffman.h"
#include "prune/sparsity.h"
#include "tests/prune/cases.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::prune;
using namespace pare::test;

TEST_CASE("bits: what was written is read") {
  BitWriter out;
  out.put(5, 3), out.put(0xffffffffu, 32), out.put(0, 1), out.put(300, 9);
  CHECK(out.bytes().size() == 6);
  BitReader in(out.bytes());
  CHECK(in.get(3) == 5);
  CHECK(in.get(32) == 0xffffffffu);
  CHECK(in.get(1) == 0);
  CHECK(in.get(9) == 300);
  CHECK(contains(message_of([&] { in.get(9); }), "ends too early"));
}

TEST_CASE("huffman: frequent symbols are short, and every sequence comes back") {
  const std::vector<std::vector<int64_t>> all_counts = {
      {50, 20, 20, 5, 0, 5}, {1, 1, 2, 4, 8, 16, 32}, {0, 7, 0}, {3, 3}, {0, 0}, {}};
  for (const std::vector<int64_t>& counts : all_counts) {
    const Huffman code(counts);
    BitWriter out;
    code.write(out);
    std::vector<size_t> symbols;
    for (size_t s = 0; s < counts.size(); ++s) {
      symbols.insert(symbols.end(), static_cast<size_t>(counts[s]), s);
    }
    Rng rng(1);
    rng.shuffle(symbols);
    for (size_t s : symbols) code.put(out, s);
    BitReader in(out.bytes());
    const Huffman again(in);
    CHECK(again.lengths() == code.lengths());
    for (size_t s : symbols) CHECK(again.get(in) == s);
  }
  CHECK(Huffman({50, 20, 20, 5, 0, 5}).lengths() == std::vector<int>{1, 3, 2, 4, 0, 4});
  CHECK(Huffman({0, 7, 0}).lengths() == std::vector<int>{0, 1});
}

TEST_CASE("codebook: values go to the nearest of few centroids, which are their means") {
  const std::vector<float> values{0.1f, 5.2f, -3, 0.2f, 5.0f, -3.2f, 0.3f, 4.8f};
  const Codebook book = share_values(values, 2);
  REQUIRE(book.centroids.size() == 3);  // of four none is nearest to the fourth
  CHECK(book.centroids[0] == doctest::Approx(-3.1f));
  CHECK(book.centroids[1] == doctest::Approx(0.2f));
  CHECK(book.centroids[2] == doctest::Approx(5.0f));
  CHECK(book.codes == std::vector<uint32_t>{1, 2, 0, 1, 2, 0, 1, 2});
  const Codebook few = share_values(std::vector<float>{2, 1, 2}, 5);
  CHECK(few.centroids == std::vector<float>{1, 2});
  CHECK(share_values({}, 4).centroids.empty());
  CHECK(contains(message_of([&] { share_values(values, 0); }), "bits must be in 1..12"));

  Rng rng(2);
  const Tensor many = Tensor::normal({5000}, rng);
  double last = 1e9;
  for (int bits : {1, 3, 5, 8}) {
    const Codebook b = share_values(many.span(), bits);
    CHECK(b.centroids.size() <= size_t{1} << bits);
    double error = 0;
    for (size_t i = 0; i < 5000; ++i) {
      error += std::pow(many.data()[i] - b.centroids[b.codes[i]], 2);
    }
    CHECK(error < 0.5 * last);
    last = error;
  }
}

TEST_CASE("pack: what comes back is the identical network") {
  for (const char* name : {"lenet5", "resnet20"}) {
    const bool lenet = name[0] == 'l';
    PruneCase c = lenet ? library_case(name, {.image = {28, 28, 1}})
                        : library_case(name, {.widths = {4, 8, 16}});
    const Tensor before = output(c.model, c.images);
    Sparsifier(c.model, {.target = 0.9, .until = 0}).update(1);
    const Sparsity zeros = sparsity(c.model);
    const Packed packed = pack(c.model, {});
    CHECK(sparsity(c.model).zeros() == zeros.zeros());
    nn::Layer again = c.model;
    for (nn::NamedTensor& p : nn::parameters(again)) p.tensor.fill_(7);
    unpack(packed.bytes, again);
    for (const auto& [key, t] : nn::state_dict(c.model)) {
      CHECK_MESSAGE(nn::state_dict(again).at(key) == t, key);
    }
    const PackReport::Row all = packed.report.total();
    CHECK(all.nonzeros == zeros.weights() - zeros.zeros());
    CHECK(all.dense > 2 * all.sparse);
    CHECK(all.packed == doctest::Approx(static_cast<double>(packed.bytes.size())).epsilon(0.01));
    if (lenet) {  // the codebooks of a few dozen weights are larger than what they save
      CHECK(all.sparse > all.shared);
      CHECK(all.shared > all.packed);
    }
    for (const PackReport::Row& r : packed.report.rows) CHECK(r.values <= 256);
  }
}

TEST_CASE("pack: long runs of zeros, dense and empty tensors") {
  nn::Layer net = nn::Sequential({nn::Linear({1000, 2, false}), nn::Linear({2, 3})});
  randomize(net);
  Tensor& w = net.as<nn::Sequential>()->layers[0].as<nn::Linear>()->weight;
  const auto returns = [&] {
    const Packed packed = pack(net, {.linear_gap = 3});
    nn::Layer again = net;
    for (nn::NamedTensor& p : nn::parameters(again)) p.tensor.fill_(1);
    unpack(packed.bytes, again);
    CHECK(again.as<nn::Sequential>()->layers[0].as<nn::Linear>()->weight == w);
    return packed.report.rows[0].nonzeros;
  };
  CHECK(returns() == 2000);
  for (int zeros : {6, 7, 8, 13, 14, 500}) {
    w.fill_(0);
    for (int i = zeros; i < 2000; i += zeros + 1) w.data()[i] = static_cast<float>(1 + i % 3);
    CHECK(returns() == 2000 / (zeros + 1));
  }
  w.fill_(0);
  CHECK(returns() == 0);
}

TEST_CASE("unpack: damaged data and other models are refused") {
  PruneCase c = library_case("lenet5", {.image = {28, 28, 1}});
  std::vector<uint8_t> bytes = pack(c.model, {}).bytes;
  PruneCase other = library_case("lenet5", {.image = {28, 28, 1}, .widths = {4, 8, 16, 12}});
  CHECK(contains(message_of([&] { unpack(bytes, other.model); }), "of another model"));
  CHECK(contains(message_of([&] { unpack(std::span(bytes).first(200), c.model); }),
                 "ends too early"));
  CHECK(contains(message_of([&] { unpack(std::span(bytes).first(2), c.model); }), "too early"));
  bytes[0] ^= 1;
  CHECK(contains(message_of([&] { unpack(bytes, c.model); }), "does not begin as it should"));
}
