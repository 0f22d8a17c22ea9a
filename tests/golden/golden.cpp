#include "tests/golden/golden.h"

#include <cmath>
#include <limits>
#include <sstream>

#include "core/error.h"

namespace pare::golden {

Tensor Golden::image(const std::string& entry) const {
  const Tensor t = raw(entry);
  return t.dims() == 4 ? nchw_to_nhwc(t) : t;
}

std::string Golden::text(const std::string& key, const std::string& otherwise) const {
  const auto it = file.metadata.find(key);
  return it == file.metadata.end() ? otherwise : it->second;
}

std::vector<float> Golden::list(const std::string& key, const std::vector<float>& otherwise) const {
  std::string s = text(key);
  if (s.empty()) return otherwise;
  for (char& c : s) {
    if (c == '[' || c == ']' || c == '(' || c == ')' || c == ',') c = ' ';
  }
  std::istringstream in(s);
  std::vector<float> values;
  for (std::string word; in >> word;) {
    size_t used = 0;
    float value = 0;
    try {
      value = std::stof(word, &used);
    } catch (const std::exception&) {
      used = 0;
    }
    PARE_CHECK(used == word.size() && used > 0, "metadata ", key, "='", text(key),
               "' is not a number");
    values.push_back(value);
  }
  PARE_CHECK(!values.empty(), "metadata ", key, " is empty");
  return values;
}

float Golden::number(const std::string& key, float otherwise) const {
  return list(key, {otherwise})[0];
}

int Golden::integer(const std::string& key, int otherwise) const {
  return static_cast<int>(number(key, static_cast<float>(otherwise)));
}

bool Golden::flag(const std::string& key, bool otherwise) const {
  const std::string s = text(key);
  if (s == "true" || s == "True" || s == "1") return true;
  if (s == "false" || s == "False" || s == "0" || s == "None" || s == "null") return false;
  PARE_CHECK(s.empty(), "metadata ", key, "='", s, "' is neither true nor false");
  return otherwise;
}

Hw Golden::pair(const std::string& key, int otherwise) const {
  const std::vector<float> v = list(key, {static_cast<float>(otherwise)});
  return {static_cast<int>(v.front()), static_cast<int>(v.size() > 1 ? v[1] : v[0])};
}

void Checks::ratio(const std::string& what, double used) {
  ++compared_;
  if (used > worst_) {
    worst_ = used;
    worst_what_ = what;
  }
}

void Checks::close(const std::string& what, const Tensor& got, const Tensor& want, Tolerance t) {
  if (!got) return fail(what + ": we have no value");
  if (got.shape() != want.shape()) {
    return fail(str(what, ": our shape is ", got.shape(), ", the file's ", want.shape()));
  }
  const float *a = got.data(), *b = want.data();
  const int64_t n = want.numel();
  double squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += static_cast<double>(b[i]) * b[i];
  const double rms = std::sqrt(squares / static_cast<double>(n));
  int64_t off = 0, where = 0;
  double worst = -1;
  for (int64_t i = 0; i < n; ++i) {
    const double limit =
        t.absolute + t.relative * std::max(std::fabs(static_cast<double>(b[i])), rms);
    const double gap = std::fabs(static_cast<double>(a[i]) - b[i]);
    // 0 / 0 is agreement; any comparison with NaN is not.
    const double used = gap == 0       ? 0
                        : gap <= limit ? gap / limit
                        : gap > limit  ? gap / limit
                                       : 1e30;
    off += !(gap <= limit);
    if (used > worst) {
      worst = used;
      where = i;
    }
  }
  ratio(what, worst);
  if (off > 0) {
    fail(str(what, ": ", off, " of ", n, " values off; worst at ", where, ": got ", a[where],
             ", file has ", b[where], ", ", worst, " times the allowed error"));
  }
}

void Checks::at_most(const std::string& what, double value, double bound) {
  const double used = bound > 0 ? value / bound : value == 0 ? 0.0 : 1e30;
  ratio(what, std::isnan(used) ? 1e30 : used);
  if (!(value <= bound)) fail(str(what, ": ", value, ", allowed ", bound));
}

std::string Checks::summary() const {
  if (compared_ == 0) return "nothing was compared";
  std::ostringstream out;
  out.precision(2);
  out << compared_ << " comparisons, worst " << worst_ << " of its tolerance (" << worst_what_
      << ")";
  return out.str();
}

std::optional<int> number_after(const std::string& name, char letter) {
  for (size_t i = 0; i + 1 < name.size(); ++i) {
    if (name[i] == letter && std::isdigit(static_cast<unsigned char>(name[i + 1]))) {
      return std::stoi(name.substr(i + 1));
    }
  }
  return std::nullopt;
}

}  // namespace pare::golden
