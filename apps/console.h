#pragma once
// What a person sees. With --json it goes to stderr, so that the last line on stdout is the result.

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace pare {

class Console {
 public:
  struct Options {
    bool json = false, quiet = false;
  };
  explicit Console(const Options& options);
  ~Console() { clear(); }
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  /// One or more whole lines.
  void print(const std::string& text);
  /// "label     text"; continuation lines of the text are indented likewise.
  void entry(const std::string& label, const std::string& text);
  /// The line that overwrites itself. Nothing if not on a terminal.
  void status(const std::string& text);
  /// The result of the program, on stdout, if asked for.
  void result(const nlohmann::ordered_json& json);
  bool terminal() const { return terminal_; }

 private:
  void clear();

  Options options_;
  FILE* out_;
  bool terminal_;
  bool status_shown_ = false;
};

/// Rows of equal length as an aligned table: the first column to the left, the others to the right.
std::string align(const std::vector<std::vector<std::string>>& rows);

std::string format_count(int64_t n);         // "965,568"
std::string format_bytes(int64_t bytes);     // "3.87 MB"
std::string format_seconds(double seconds);  // "1.2 s", "4:05", "1:02:03"

}  // namespace pare
