// Folders may include only what lies below them: apps -> models, datasets, quant, ... -> nn ->
// core.

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>

namespace fs = std::filesystem;

namespace {

const std::map<std::string, std::set<std::string>> kAllowed = {
    {"core", {"core"}},
    {"nn", {"core", "nn"}},
    {"models", {"core", "nn", "models"}},
    {"datasets", {"core", "datasets"}},
    {"quant", {"core", "nn", "quant"}},
    {"prune", {"core", "nn", "prune"}},
    {"distill", {"core", "nn", "distill"}},
    {"deploy", {"core", "nn", "deploy"}},
};

bool is_source(const fs::path& p) { return p.extension() == ".h" || p.extension() == ".cpp"; }

}  // namespace

TEST_CASE("no folder includes what it must not know") {
  const std::regex include(R"(^\s*#include\s*[<"]([^>"]+)[>"])");
  int files = 0;
  for (const auto& [folder, allowed] : kAllowed) {
    if (!fs::exists(folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (!is_source(entry.path())) continue;
      ++files;
      const bool kernel = entry.path().string().starts_with("core/kernels/");
      std::ifstream in(entry.path());
      std::smatch match;
      for (std::string line; std::getline(in, line);) {
        if (!std::regex_search(line, match, include)) continue;
        const std::string target = match[1], top = target.substr(0, target.find('/'));
        CAPTURE(entry.path().string());
        CAPTURE(target);
        if (kAllowed.count(top) || top == "apps" || top == "tests" || top == "bench")
          CHECK(allowed.count(top) == 1);
        if (top == "hwy") CHECK(kernel);
        if (target == "immintrin.h")
          CHECK((kernel || entry.path().string().starts_with("deploy/runtime/kernels/")));
        if (target == "omp.h") CHECK(entry.path() == fs::path("core/parallel.cpp"));
        if (top == "Eigen") CHECK(entry.path() == fs::path("prune/criteria/hrank.cpp"));
      }
    }
  }
  CHECK(files > 50);  // the test runs in the project's root
}
