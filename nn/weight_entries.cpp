#include "nn/weight_entries.h"

#include "core/error.h"

namespace pare::nn {

namespace {

constexpr size_t kShown = 10;

std::string show(const std::vector<int64_t>& shape) {
  std::string text;
  for (int64_t d : shape) text += (text.empty() ? "" : ", ") + std::to_string(d);
  return "[" + text + "]";
}

/// "\n  missing     a\n              b\n              ... and 3 more"
std::string list(std::string label, const std::vector<std::string>& lines) {
  std::string text;
  for (size_t i = 0; i < std::min(lines.size(), kShown); ++i) {
    label.resize(12, ' ');
    text += "\n  " + label + lines[i];
    label.clear();
  }
  if (lines.size() > kShown) {
    text += "\n  " + std::string(12, ' ') + str("... and ", lines.size() - kShown, " more");
  }
  return text;
}

}  // namespace

safetensors::Entry to_entry(const Tensor& t) {
  return safetensors::Entry::of(t.dims() == 4 ? nhwc_to_nchw(t) : t);
}

Tensor from_entry(const safetensors::Entry& e) {
  const Tensor t = e.tensor();
  return t.dims() == 4 ? nchw_to_nhwc(t) : t;
}

std::vector<int64_t> file_shape(const Shape& shape) {
  std::vector<int64_t> dims(shape.begin(), shape.end());
  if (dims.size() == 4) dims = {dims[0], dims[3], dims[1], dims[2]};
  return dims;
}

void check_keys(const KeyShapes& wanted, const KeyShapes& found, const std::string& what,
                const std::string& advice) {
  std::vector<std::string> missing, unexpected, other_shape;
  for (const auto& [name, shape] : wanted) {
    const auto it = found.find(name);
    if (it == found.end()) {
      missing.push_back(name);
    } else if (it->second != shape) {
      other_shape.push_back(str(name, ": found ", show(it->second), ", expected ", show(shape)));
    }
  }
  for (const auto& [name, shape] : found) {
    if (!wanted.count(name)) unexpected.push_back(str(name, " ", show(shape)));
  }
  if (missing.empty() && unexpected.empty() && other_shape.empty()) return;
  std::string counts;
  const auto count = [&](size_t n, const char* kind) {
    if (n > 0) counts += str(counts.empty() ? "" : ", ", n, " ", kind);
  };
  count(missing.size(), "missing");
  count(unexpected.size(), "unexpected");
  count(other_shape.size(), "of another shape");
  throw Error(what + ": " + counts + list("missing", missing) + list("unexpected", unexpected) +
                  list("shape", other_shape) + (advice.empty() ? "" : hint(advice)),
              "check_keys");
}

}  // namespace pare::nn
