#include "apps/console.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

namespace pare {

namespace {

constexpr size_t kLabel = 11;  // width of the label column

/// Columns of the terminal, so that a status line never wraps.
size_t terminal_width(FILE* out) {
  winsize size{};
  const bool known = ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

}  // namespace

Console::Console(const Options& options)
    : options_(options),
      out_(options.json ? stderr : stdout),
      terminal_(isatty(fileno(out_)) == 1) {}

void Console::print(const std::string& text) {
  if (options_.quiet) return;
  clear();
  fmt::print(out_, "{}\n", text);
  std::fflush(out_);
}

void Console::entry(const std::string& label, const std::string& text) {
  std::string indented;
  for (char c : text) {
    indented += c;
    if (c == '\n') indented += std::string(kLabel, ' ');
  }
  print(fmt::format("{:<{}}{}", label, kLabel, indented));
}

void Console::status(const std::string& text) {
  if (options_.quiet || !terminal_) return;
  fmt::print(out_, "\r{}\x1b[K", text.substr(0, terminal_width(out_) - 1));
  std::fflush(out_);
  status_shown_ = true;
}

void Console::clear() {
  if (!status_shown_) return;
  fmt::print(out_, "\r\x1b[K");
  std::fflush(out_);
  status_shown_ = false;
}

void Console::result(const nlohmann::ordered_json& json) {
  clear();
  if (!options_.json) return;
  fmt::print("{}\n", json.dump());
  std::fflush(stdout);
}

std::string align(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    if (!text.empty()) text += '\n';
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += i == 0 ? fmt::format("{:<{}}", row[i], widths[i])
                     : fmt::format("  {:>{}}", row[i], widths[i]);
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1);
  }
  return text;
}

std::string format_count(int64_t n) {
  std::string digits = std::to_string(n);
  for (size_t at = digits.size(); at > 3 + (n < 0); at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::string format_bytes(int64_t bytes) {
  const auto b = static_cast<double>(bytes);
  if (b < 1e3) return fmt::format("{} B", bytes);
  if (b < 1e6) return fmt::format("{:.1f} kB", b / 1e3);
  return fmt::format("{:.2f} MB", b / 1e6);
}

std::string format_seconds(double seconds) {
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const auto s = static_cast<int64_t>(std::llround(seconds));
  if (s < 3600) return fmt::format("{}:{:02}", s / 60, s % 60);
  return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

}  // namespace pare
