#pragma once
// Golden files: inputs and outputs that PyTorch or a replaced system computed, compared with ours.
// What to run comes from a file's folder, its name and its metadata.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/ops.h"
#include "core/safetensors.h"

namespace pare::golden {

/// One file.
struct Golden {
  std::string folder, stem;  // "ops", "conv2d_0"
  safetensors::File file;

  bool has(const std::string& entry) const { return file.has(entry); }
  /// As stored, in float32.
  Tensor raw(const std::string& entry) const { return file.at(entry).tensor(); }
  /// Four-dimensional data is NCHW, four-dimensional weights are OIHW or IOHW: channels go last in
  /// all of them.
  Tensor image(const std::string& entry) const;

  std::string text(const std::string& key, const std::string& otherwise = {}) const;
  float number(const std::string& key, float otherwise) const;
  int integer(const std::string& key, int otherwise) const;
  bool flag(const std::string& key, bool otherwise) const;
  /// "2", "[2, 1]" or "(2, 1)"
  std::vector<float> list(const std::string& key, const std::vector<float>& otherwise) const;
  Hw pair(const std::string& key, int otherwise) const;
};

/// Absolute and relative error that is allowed: |got - want| <= absolute + relative max(|want|, rms
/// of want). The rms is the scale of a tensor's rounding errors: where terms cancel, the result is
/// small but they are not.
struct Tolerance {
  double relative = 0.0, absolute = 0.0;
};

/// What was compared in one file, and how far off the worst was.
class Checks {
 public:
  void close(const std::string& what, const Tensor& got, const Tensor& want, Tolerance tolerance);
  /// A single number against a bound, for everything that is not element by element.
  void at_most(const std::string& what, double value, double bound);
  void fail(const std::string& why) { failures_.push_back(why); }
  void note(const std::string& text) { notes_.push_back(text); }

  bool passed() const { return failures_.empty() && compared_ > 0; }
  const std::vector<std::string>& failures() const { return failures_; }
  const std::vector<std::string>& notes() const { return notes_; }
  /// "worst 0.03 of the tolerance (gx)"
  std::string summary() const;

 private:
  void ratio(const std::string& what, double used);

  int compared_ = 0;
  double worst_ = -1;
  std::string worst_what_;
  std::vector<std::string> failures_, notes_;
};

void check_op(const Golden& golden, Checks& checks);
void check_optimizer(const Golden& golden, Checks& checks);
void check_quantizer(const Golden& golden, Checks& checks);
void check_grid_quantizer(const Golden& golden, Checks& checks);
void check_observer(const Golden& golden, Checks& checks);
void check_defective_kl(const Golden& golden, Checks& checks);
void check_trajectory(const Golden& golden, Checks& checks);
void check_distillation(const Golden& golden, Checks& checks);

/// The number after `letter` in a name such as "nin_W2A32" ('A' -> 32), if there is one.
std::optional<int> number_after(const std::string& name, char letter);

}  // namespace pare::golden
