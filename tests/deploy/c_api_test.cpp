#include <doctest/doctest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "deploy/runtime/file.h"
#include "deploy/runtime/normalize.h"
#include "deploy/runtime/pare.h"
#include "tests/deploy/nets.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

/// A folder that goes when it does.
struct Folder {
  fs::path path = fs::temp_directory_path() / "pare_c_api_test";
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
};

void write(const fs::path& path, const std::vector<uint8_t>& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<int64_t>(bytes.size()));
}

runtime::Program program() {
  models::Options o;
  o.widths = {32, 16, 16, 16, 16, 16, 16, 16}, o.image = {8, 8, 3}, o.classes = 3;
  nn::Layer model = test::net({"nin", "wbab:W2A2", o});
  runtime::Program p = deploy::lower(model, test::images(1, o.image)).program;
  p.labels = {"cat", "dog", "eel"};
  p.mean = {0.5f, 0.4f, 0.3f}, p.std = {0.2f, 0.2f, 0.3f};
  return p;
}

std::vector<uint8_t> frames(int64_t count) {
  Rng rng(3);
  std::vector<uint8_t> bytes(static_cast<size_t>(count * 8 * 8 * 3));
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(rng.below(256));
  return bytes;
}

TEST_CASE("the C API runs a model, and says what is wrong") {
  const Folder folder;
  const runtime::Program p = program();
  const std::string path = folder.path / "m.pare";
  write(path, runtime::to_bytes(p));
  pare_error error;
  pare_model* model = pare_load(path.c_str(), 1, &error);
  REQUIRE(model);
  const pare_shape shape = pare_shape_of(model);
  CHECK(shape.height == 8);
  CHECK(shape.channels == 3);
  CHECK(shape.outputs == 3);
  CHECK(std::string(pare_label(model, 1)) == "dog");
  CHECK(std::string(pare_label(model, 3)).empty());

  const std::vector<uint8_t> bytes = frames(5);
  std::vector<float> floats(bytes.size()), y(15), from_floats(15), want(15);
  REQUIRE(pare_run_bytes(model, bytes.data(), 5, y.data(), &error) == 0);
  runtime::normalize(p, bytes.data(), 5, floats.data());
  CHECK(floats[4] == (static_cast<float>(bytes[4]) / 255.0f - 0.4f) / 0.2f);
  REQUIRE(pare_run(model, floats.data(), 5, from_floats.data(), nullptr) == 0);
  runtime::Session(p, 1).run(floats.data(), 5, want.data());
  CHECK(y == want);
  CHECK(from_floats == want);
  pare_softmax(y.data(), 3);
  CHECK(y[0] + y[1] + y[2] == doctest::Approx(1));
  CHECK(pare_run(model, nullptr, 5, y.data(), &error) == -1);
  CHECK(std::string(error.text).find("needs a model") != std::string::npos);
  pare_free(model);
  pare_free(nullptr);

  CHECK(pare_load((folder.path / "none.pare").c_str(), 1, &error) == nullptr);
  CHECK(std::string(error.text).find("none.pare: ") != std::string::npos);
  write(path, {1, 2, 3});
  CHECK(pare_load(path.c_str(), 1, &error) == nullptr);
  CHECK(std::string(error.text).find("is no model.pare file") != std::string::npos);
}

TEST_CASE("the example in C classifies frames") {
  const Folder folder;
  const runtime::Program p = program();
  const std::vector<uint8_t> bytes = frames(4);
  write(folder.path / "m.pare", runtime::to_bytes(p));
  write(folder.path / "frames", bytes);
  const std::string command = std::string(PARE_C_EXAMPLE) + " " +
                              (folder.path / "m.pare").string() + " < " +
                              (folder.path / "frames").string();
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe);
  std::string text;
  for (int c; (c = std::fgetc(pipe)) != EOF;) text += static_cast<char>(c);
  CHECK(pclose(pipe) == 0);

  Tensor x = Tensor::uninit({4, 8, 8, 3});
  runtime::normalize(p, bytes.data(), 4, x.data());
  runtime::Session session(p, 1);
  const Tensor y = test::run(session, x);
  std::istringstream lines(text);
  for (int64_t i = 0; i < 4; ++i) {
    int64_t index = -1;
    std::string label;
    float probability = 0;
    lines >> index >> label >> probability;
    CHECK(index == test::argmax(y, i));
    CHECK(label == p.labels[static_cast<size_t>(test::argmax(y, i))]);
    CHECK(probability > 1.0f / 3);
  }
  CHECK(pclose(popen((std::string(PARE_C_EXAMPLE) + " none.pare 2>/dev/null").c_str(), "r")) != 0);
}

}  // namespace
}  // namespace pare
