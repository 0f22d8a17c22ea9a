// Compares every golden file below the folder named by PARE_GOLDEN (default: ../shared/golden
// beside the project) with what the library computes. A file is picked up because it is there;
// folders we have no code for yet are counted and named. Arguments: parts of file names, to check
// only those.

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>

#include "core/error.h"
#include "core/parallel.h"
#include "tests/golden/golden.h"

namespace pare::golden {
namespace {

namespace fs = std::filesystem;
constexpr int kSkipped = 77;  // what ctest calls "skipped"

using Check = void (*)(const Golden&, Checks&);

/// Who checks a file; null: nobody yet.
Check check_for(const std::string& folder, const std::string& stem) {
  if (folder == "ops") return check_op;
  if (folder == "optim") return check_optimizer;
  if (folder == "trajectory") return check_trajectory;
  if (folder == "distill") return check_distillation;
  const auto starts = [&](const char* word) { return stem.rfind(word, 0) == 0; };
  if (folder == "quant" && (starts("wbwtab") || starts("dorefa"))) return check_quantizer;
  if (folder == "quant" && (starts("lsq") || starts("pact") || starts("iao"))) {
    return check_grid_quantizer;
  }
  if (folder == "observer") return starts("kl_") ? check_defective_kl : check_observer;
  return nullptr;
}

bool wanted(const std::string& name, const std::vector<std::string>& parts) {
  return parts.empty() || std::any_of(parts.begin(), parts.end(), [&](const std::string& p) {
           return name.find(p) != std::string::npos;
         });
}

/// Checks one file and prints its line; true if it passed.
bool run(const fs::path& path, const std::string& folder, Check check) {
  const std::string stem = path.stem().string();
  Checks checks;
  try {
    check({folder, stem, safetensors::read(path.string())}, checks);
  } catch (const std::exception& e) {
    checks.fail(e.what());
  }
  std::cout << (checks.passed() ? "  ok    " : "  FAIL  ") << folder << "/" << stem << "  "
            << checks.summary() << '\n';
  for (const std::string& note : checks.notes()) std::cout << "          " << note << '\n';
  for (const std::string& failure : checks.failures()) std::cout << "        ! " << failure << '\n';
  std::cout.flush();
  return checks.passed();
}

int run_all(const fs::path& root, const std::vector<std::string>& parts) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  int passed = 0;
  std::vector<std::string> failed;
  std::map<std::string, int> uncovered;
  for (const fs::path& path : files) {
    const std::string folder = fs::relative(path.parent_path(), root).string();
    const std::string stem = path.stem().string(), name = folder + "/" + stem;
    if (!wanted(name, parts)) continue;
    const Check check = check_for(folder, stem);
    if (!check) {
      const std::string family =
          folder == "quant" ? folder + "/" + stem.substr(0, stem.find('_')) + "*" : folder;
      ++uncovered[family];
    } else if (run(path, folder, check)) {
      ++passed;
    } else {
      failed.push_back(name);
    }
  }
  for (const auto& [family, count] : uncovered) {
    std::cout << "  --    " << family << ": not covered yet, " << count << " files\n";
  }
  std::cout << passed << " files passed, " << failed.size() << " failed\n";
  for (const std::string& name : failed) std::cout << "  failed: " << name << '\n';
  if (!failed.empty()) return 1;
  if (passed > 0) return 0;
  std::cout << "golden tests skipped: nothing to check below " << root.string() << '\n';
  return kSkipped;
}

fs::path golden_root() {
  if (const char* root = std::getenv("PARE_GOLDEN"); root && *root) return root;
  return fs::path(PARE_SOURCE_DIR) / "../shared/golden";
}

}  // namespace
}  // namespace pare::golden

int main(int argc, char** argv) {
  const auto root = pare::golden::golden_root();
  if (!std::filesystem::is_directory(root)) {
    std::cout << "golden tests skipped: no folder " << root.string()
              << " (the environment variable PARE_GOLDEN names another)\n";
    return pare::golden::kSkipped;
  }
  pare::set_num_threads(1);  // the results are the same, and small work spends no time on waiting
  return pare::golden::run_all(root.lexically_normal(), {argv + 1, argv + argc});
}
