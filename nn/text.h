#pragma once
// How modules describe themselves: a name, its arguments, and the options that are not at their
// default. "Conv2d(3, 192, kernel=5, pad=2)".

#include <algorithm>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/ops.h"

namespace pare {

inline std::ostream& operator<<(std::ostream& out, Hw v) {
  out << v.h;
  if (v.w != v.h) out << 'x' << v.w;
  return out;
}

namespace nn {

class Description {
 public:
  explicit Description(std::string name) : name_(std::move(name)) {}

  template <class T>
  Description& arg(const T& value) {
    words_.push_back(text(value));
    return *this;
  }
  template <class T>
  Description& option(const char* name, const T& value) {
    words_.push_back(name + ("=" + text(value)));
    return *this;
  }
  /// Left out if it says nothing new.
  template <class T>
  Description& option(const char* name, const T& value, const T& usual) {
    return value == usual ? *this : option(name, value);
  }

  operator std::string() const {
    std::string out;
    for (const std::string& word : words_) out += (out.empty() ? "" : ", ") + word;
    return out.empty() ? name_ : name_ + "(" + out + ")";
  }

 private:
  template <class T>
  static std::string text(const T& value) {
    std::ostringstream out;
    out << std::boolalpha << value;
    return out.str();
  }

  std::string name_;
  std::vector<std::string> words_;
};

/// Rows of equal length as a table, aligned to the left; no spaces at the end of a line.
inline std::string columns(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i] + std::string(widths[i] - row[i].size() + 2, ' ');
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

}  // namespace nn
}  // namespace pare
