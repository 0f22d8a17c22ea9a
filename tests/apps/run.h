#pragma once
// Running the programs as a user does, in a folder of their own.

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "core/error.h"

namespace pare::test {

namespace fs = std::filesystem;
using Json = nlohmann::json;

inline std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

/// A fresh folder below the system's temporary one, removed at the end.
struct TempDir {
  TempDir() {
    static int count = 0;
    path = fs::temp_directory_path() / str("pare_apps_test_", ::getpid(), "_", count++);
    fs::create_directories(path);
  }
  ~TempDir() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
  fs::path path;
};

struct Result {
  int code = -1;
  std::string out, err;

  std::string last_line() const {
    const std::string text = out.substr(0, out.find_last_not_of('\n') + 1);
    const size_t at = text.rfind('\n');
    return at == std::string::npos ? text : text.substr(at + 1);
  }
  Json json() const { return Json::parse(last_line()); }
  bool says(const std::string& text) const { return err.find(text) != std::string::npos; }
};

/// Runs "wbab --W 2 ..." with its working directory in `dir`; `env` comes before the program.
inline Result run(const TempDir& dir, const std::string& command, const std::string& env = {}) {
  const std::string line = str("cd '", dir.path.string(), "' && ", env, " ", PARE_BIN, "/", command,
                               " >stdout.txt 2>stderr.txt");
  const int status = std::system(line.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          slurp(dir / "stdout.txt"), slurp(dir / "stderr.txt")};
}

/// A model and a data set that train in a moment: four batches of 40 and two of 50.
inline const std::string kTiny =
    " --model nin --widths 8,8,8,8,8,8,8,8 --train-limit 160 --test-limit 100 --batch-size 40"
    " --eval-batch-size 50 --threads 2 ";

}  // namespace pare::test
