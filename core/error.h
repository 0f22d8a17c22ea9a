#pragma once
// Errors: thrown at API borders, caught once, in main. The library never prints, aborts or exits.
//   op: what, got, expected
//     operand  [shape]
//     hint     what to try

#include <sstream>
#include <stdexcept>
#include <string>

namespace pare {

/// Everything the library throws. `what()` is written for the user; `where()` names the check, for
/// the developer.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, std::string where = {})
      : std::runtime_error(message), message_(message), where_(std::move(where)) {}

  const char* what() const noexcept override { return message_.c_str(); }
  const std::string& where() const noexcept { return where_; }

  /// Appends an indented line such as "in      stage2.0.conv1"; used by layers while the error
  /// passes through.
  void add_line(const std::string& line) { message_ += "\n  " + line; }
  bool has_path() const noexcept { return has_path_; }
  void add_path(const std::string& path) {
    add_line("in      " + path);
    has_path_ = true;
  }

 private:
  std::string message_, where_;
  bool has_path_ = false;
};

/// All arguments, streamed into one string.
template <class... Args>
std::string str(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

/// "\n  hint    text": the last line of a message.
inline std::string hint(const std::string& text) { return "\n  hint    " + text; }

template <class... Args>
[[noreturn]] void fail(const char* file, int line, const char* condition, const Args&... args) {
  throw Error(str(args...), str(file, ":", line, ": ", condition));
}

}  // namespace pare

#define PARE_CHECK(cond, ...)                               \
  do {                                                      \
    if (!(cond)) [[unlikely]]                               \
      ::pare::fail(__FILE__, __LINE__, #cond, __VA_ARGS__); \
  } while (false)

#ifdef NDEBUG
#define PARE_DCHECK(cond, ...) \
  do {                         \
  } while (false)
#else
#define PARE_DCHECK(cond, ...) PARE_CHECK(cond, __VA_ARGS__)
#endif
