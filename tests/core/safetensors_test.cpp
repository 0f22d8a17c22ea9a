#include "core/safetensors.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "core/files.h"

using namespace pare;
namespace fs = std::filesystem;

namespace {

struct TempFile {
  std::string path =
      (fs::temp_directory_path() / ("pare_safetensors_" + std::to_string(::getpid()))).string();
  ~TempFile() { fs::remove(path); }
};

std::string raw(const std::string& header, size_t data_bytes) {
  const uint64_t n = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &n, 8);
  return file + header + std::string(data_bytes, '\0');
}

std::string error_of(const std::string& content) {
  TempFile temp;
  write_file_atomically(temp.path, {content});
  try {
    safetensors::read(temp.path);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

bool says(const std::string& message, const std::string& part) {
  return message.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("what is written is read back: shapes, types, metadata") {
  safetensors::File file;
  Rng rng(1);
  const Tensor w = Tensor::normal({2, 3, 4}, rng);
  const std::vector<int64_t> longs{-5, int64_t{1} << 40};
  const std::vector<int32_t> ints{-7, 8, 9};
  const std::vector<uint8_t> bytes{0, 255};
  file.entries["w"] = safetensors::Entry::of(w);
  file.entries["longs"] = safetensors::Entry::of(longs, {2});
  file.entries["ints"] = safetensors::Entry::of(ints, {3, 1});
  file.entries["bytes"] = safetensors::Entry::of(bytes, {2});
  file.entries["empty"] = safetensors::Entry::of(std::span<const uint8_t>{}, {0});
  file.metadata["note"] = "two words, \"quoted\"";
  TempFile temp;
  safetensors::write(temp.path, file);

  const safetensors::File back = safetensors::read(temp.path);
  CHECK(back.at("w").tensor() == w);
  CHECK(back.at("longs").integers() == longs);
  CHECK(back.at("ints").integers() == std::vector<int64_t>{-7, 8, 9});
  CHECK(back.at("ints").shape == std::vector<int64_t>{3, 1});
  CHECK(back.at("bytes").integers() == std::vector<int64_t>{0, 255});
  CHECK(back.at("empty").numel() == 0);
  CHECK(back.metadata == file.metadata);
  CHECK_THROWS_AS(back.at("nothing"), Error);
  CHECK_THROWS_AS(back.at("w").integers(), Error);
  CHECK(safetensors::read_header(temp.path).at("w").shape == std::vector<int64_t>{2, 3, 4});
}

TEST_CASE("half precision is read exactly") {
  safetensors::Entry e{safetensors::Dtype::f16, {4}, std::vector<std::byte>(8)};
  const uint16_t half[] = {0x3C00, 0xC000, 0x0001, 0x7BFF};
  std::memcpy(e.bytes.data(), half, 8);
  CHECK(e.tensor() == Tensor::of({1.0f, -2.0f, 0x1p-24f, 65504.0f}));
}

TEST_CASE("broken files are refused, each with its reason") {
  const std::string one = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  CHECK(error_of(raw(one, 8)).empty());
  CHECK(says(error_of("short"), "truncated"));
  CHECK(says(error_of(raw(one, 7)), "truncated"));
  CHECK(says(error_of(raw(one, 9)), "truncated or padded"));
  CHECK(says(error_of(raw("{not json", 0)), "not a safetensors file"));
  CHECK(says(error_of(raw(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8)),
             "need 12"));
  CHECK(says(error_of(raw(R"({"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})", 8)),
             "unknown data type"));
  CHECK(says(error_of(raw(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8)),
             "data_offsets"));
  CHECK(says(error_of(raw(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8)),
             "negative"));
  CHECK(says(error_of(raw(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                          R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
                          3)),
             "overlap"));
  CHECK(says(error_of(raw(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                          R"("b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})",
                          5)),
             "hole"));
  CHECK(says(error_of(raw(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                          R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
                          2)),
             "twice"));
  CHECK(
      says(error_of(raw(
               R"({"a":{"dtype":"U8","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0)),
           "too large"));
}

TEST_CASE("a write that fails leaves the old file and no temporary") {
  TempFile temp;
  write_file_atomically(temp.path, {"old"});
  CHECK_THROWS_AS(write_file_atomically(temp.path + "/below-a-file", {"x"}), Error);
  CHECK(read_file(temp.path) == "old");
  CHECK_THROWS_AS(read_file("/nonexistent/file"), Error);
  CHECK_THROWS_AS(read_file("/tmp"), Error);
  write_file_atomically(temp.path, {"new ", "content"});
  CHECK(read_file(temp.path) == "new content");
}
