#include "deploy/runtime/file.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <utility>

#include "deploy/lower_weights.h"
#include "deploy/runtime/huffman.h"
#include "tests/deploy/nets.h"
#include "tests/support/message.h"

namespace pare {
namespace {

using namespace test;
using runtime::Coding;

runtime::Program small_program(const std::string& scheme = "wbab:W3A2") {
  models::Options o;
  o.widths = {32, 8, 8, 8, 8, 8, 8, 8}, o.image = {4, 4, 3}, o.classes = 3;
  nn::Layer model = net({"nin", scheme, o});
  runtime::Program p = deploy::lower(model, images(1, o.image)).program;
  p.name = "nin", p.labels = {"a", "b", "c"}, p.mean = {0, 0, 0}, p.std = {1, 1, 1};
  return p;
}

runtime::Program read(std::vector<uint8_t> bytes) {
  return runtime::from_bytes(runtime::Bytes::of(std::move(bytes)), "m.pare");
}

/// CRC-32, bit by bit.
uint32_t crc(const uint8_t* p, size_t n) {
  uint32_t c = ~0u;
  for (size_t i = 0; i < n; ++i) {
    c ^= p[i];
    for (int bit = 0; bit < 8; ++bit) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
  }
  return ~c;
}

std::vector<uint8_t> with_new_checksum(std::vector<uint8_t> bytes) {
  const uint32_t sum = crc(bytes.data() + 32, bytes.size() - 32);
  std::memcpy(bytes.data() + 24, &sum, 4);
  return bytes;
}

TEST_CASE("a program comes back from its file") {
  const runtime::Program p = small_program();
  const std::string path = std::filesystem::temp_directory_path() / "pare_file_test.pare";
  const std::vector<uint8_t> bytes = runtime::to_bytes(p);
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<int64_t>(bytes.size()));
  const runtime::Program back = runtime::load(path);
  std::filesystem::remove(path);
  CHECK(runtime::to_bytes(back) == bytes);
  CHECK(back.labels == p.labels);
  runtime::Session before(p, 1), after(back, 1);
  const Tensor x = images(3, {4, 4, 3});
  CHECK(same_bytes(run(before, x), run(after, x)));
}

TEST_CASE("files that are cut short, or have one byte changed, are refused") {
  const std::vector<uint8_t> bytes = runtime::to_bytes(small_program());
  for (size_t n = 0; n < bytes.size(); ++n) {
    CHECK_THROWS_AS(read({bytes.begin(), bytes.begin() + static_cast<int64_t>(n)}), Error);
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::vector<uint8_t> changed = bytes;
    changed[i] = static_cast<uint8_t>(changed[i] ^ 0x10);
    CHECK_THROWS_AS(read(changed), Error);
  }
  std::vector<uint8_t> longer = bytes;
  longer.push_back(0);
  CHECK(contains(message_of([&] { read(longer); }), "bytes long"));
  CHECK(contains(message_of([&] { runtime::load("no/such.pare"); }), "no/such.pare: "));
  CHECK(contains(message_of([&] { runtime::load("."); }), "is not a file"));
}

/// Behind a checksum that fits, any bytes either are refused or make a program that can be run.
void check_disbelief(const std::vector<uint8_t>& bytes) {
  int refused = 0, ran = 0;
  for (size_t i = 32; i < bytes.size(); i += 1 + bytes.size() / 2000) {
    for (int change : {0x01, 0x80, 0xff}) {
      std::vector<uint8_t> changed = bytes;
      changed[i] = static_cast<uint8_t>(changed[i] ^ change);
      try {
        runtime::Program p = read(with_new_checksum(changed));
        int64_t memory = 0;
        for (const runtime::Buffer& b : p.buffers) memory += b.bytes();
        if (memory > (1 << 20)) continue;
        runtime::Session session(std::move(p), 1);
        const Tensor x = Tensor::full({1, session.input().numel()}, 0.5f);
        run(session, x);
        ++ran;
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  CHECK(refused > 100);
  CHECK(ran > 100);
  for (size_t cut = 32; cut < bytes.size(); cut += 7) {
    std::vector<uint8_t> shorter(bytes.begin(), bytes.begin() + static_cast<int64_t>(cut));
    const auto size = static_cast<int64_t>(cut);
    std::memcpy(shorter.data() + 16, &size, 8);
    CHECK_THROWS_AS(read(with_new_checksum(shorter)), Error);
  }
}

TEST_CASE("files with a checksum that fits are not believed either") {
  for (const char* scheme :
       {"wbab:W3A2", "wbab:W2A2,edges=uniform:8,place=input", "uniform:W4A8"}) {
    check_disbelief(runtime::to_bytes(small_program(scheme)));
  }
}

TEST_CASE("weights take their real bits") {
  CHECK(runtime::filter_bytes(Coding::binary, 17) == 3);
  CHECK(runtime::filter_bytes(Coding::ternary, 16) == 4);
  CHECK(runtime::filter_bytes(Coding::s2, 5) == 2);
  CHECK(runtime::filter_bytes(Coding::s4, 5) == 3);
  CHECK(runtime::filter_bytes(Coding::s8, 5) == 5);
  const auto there_and_back = [](Coding coding, std::vector<int16_t> values) {
    const auto n = static_cast<int64_t>(values.size());
    std::vector<uint8_t> packed(static_cast<size_t>(runtime::filter_bytes(coding, n)));
    runtime::pack_filter(coding, values.data(), n, packed.data());
    std::vector<int16_t> back(values.size());
    runtime::unpack_filter(coding, packed.data(), n, back.data());
    return back == values;
  };
  CHECK(there_and_back(Coding::s8, {-128, -1, 0, 1, 127}));
  CHECK(there_and_back(Coding::s4, {-8, -1, 0, 1, 7, 3, -5}));
  CHECK(there_and_back(Coding::s2, {-2, -1, 0, 1, 1}));
  CHECK(there_and_back(Coding::ternary, {-1, 0, 1, 1, -1, 0, 0}));
  CHECK(there_and_back(Coding::binary, {-1, 1, 1, 1, -1, -1, 1, 1, 1, -1}));
  CHECK(runtime::filter_bytes(Coding::o2, 5) == 2);
  CHECK(runtime::filter_bytes(Coding::o4, 5) == 3);
  CHECK(runtime::filter_bytes(Coding::o8, 5) == 5);
  CHECK(there_and_back(Coding::o8, {-255, -129, -1, 1, 3, 127, 255}));
  CHECK(there_and_back(Coding::o4, {-15, -3, -1, 1, 15, 7, -9}));
  CHECK(there_and_back(Coding::o2, {-3, -1, 1, 3, 3}));
}

TEST_CASE("bytes come back from their codes, and take fewer bits where some are frequent") {
  const auto there_and_back = [](const std::vector<uint8_t>& bytes) {
    const auto n = static_cast<int64_t>(bytes.size());
    const runtime::HuffmanCode code = runtime::huffman_encode(bytes.data(), n);
    std::vector<uint8_t> back(bytes.size());
    REQUIRE(runtime::huffman_decode(code, back.data(), n));
    CHECK(back == bytes);
    CHECK(!runtime::huffman_decode(code, back.data(), n - 8));
    std::vector<uint8_t> more(bytes.size() + 8);
    CHECK(!runtime::huffman_decode(code, more.data(), n + 8));
    return static_cast<double>(code.bits.size()) / static_cast<double>(bytes.size());
  };
  Rng rng(3);
  std::vector<uint8_t> normal(20000), even(20000), steep;
  for (uint8_t& b : normal) b = static_cast<uint8_t>(static_cast<int>(20 * rng.normal()));
  for (uint8_t& b : even) b = static_cast<uint8_t>(rng.below(256));
  // Fibonacci numbers make the deepest trees: without a limit the rarest of 20 takes 19 bits.
  for (size_t a = 1, b = 1, byte = 0; byte < 20; ++byte, b += std::exchange(a, b)) {
    steep.insert(steep.end(), a, static_cast<uint8_t>(byte));
  }
  const double entropy = std::log2(20 * 4.1327);  // log2(sigma sqrt(2 pi e))
  CHECK(there_and_back(normal) * 8 < entropy + 0.1);
  CHECK(there_and_back(even) < 1.01);
  there_and_back(steep);
  there_and_back({7, 9, 7, 7, 9, 7, 7, 7, 7});
  const std::vector<uint8_t> same(9, 5);
  CHECK(runtime::huffman_encode(same.data(), 9).bits.empty());
}

TEST_CASE("thresholds are where the float function turns") {
  for (int at = -9; at <= 10; ++at) {
    CHECK(deploy::threshold(9, [&](int32_t k) { return k >= at; }) == (at > 9     ? INT32_MAX
                                                                       : at <= -9 ? INT32_MIN
                                                                                  : at));
  }
}

}  // namespace
}  // namespace pare
