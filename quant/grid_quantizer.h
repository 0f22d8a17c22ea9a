#pragma once
// What quantizers on a uniform grid have in common: the options, the grid, who shares a scale, and
// how calibration ends.

#include <memory>
#include <string>
#include <vector>

#include "core/ops.h"
#include "quant/quantizer.h"
#include "quant/registry.h"

namespace pare::quant {

/// Options of grid quantizers, for QuantizerInfo::options. The first word of a list is the usual
/// one.
Option coding_option(std::vector<std::string> words,
                     std::map<std::string, std::string> refused = {});
Option per_option(std::vector<std::string> words, std::map<std::string, std::string> refused = {});
Option rounding_option();
Option observer_option(const std::string& usual);
/// -2^(b-1) or, narrow, -(2^(b-1) - 1) as the lowest code with a sign.
Option codes_option();
std::string narrow_needs_signs(const QuantizerSpec& spec);

struct GridQuantizer : Quantizer {
  /// Reads bits and the options scheme, per, rounding and observer, as far as the spec has them.
  GridQuantizer(const QuantizerSpec& spec, const Site& site);

  void visit(nn::Visitor& v) override {
    v.buffer("calibrated", calibrated);
    if (coding == Coding::automatic) v.buffer("codes", codes);
  }
  std::string describe() const override;
  int bits() const override { return bits_; }
  int64_t scales(const Tensor&) const override { return groups; }
  bool wants_calibration() const override { return true; }
  void observe(const Tensor& x) override;
  void settle() override;

  /// The codes in use; of an automatic one: what calibration decided, signed before.
  virtual Grid grid() const;
  bool affine() const { return coding == Coding::affine; }
  /// Scales as they are used, z of each; what an integer kernel or an export needs.
  virtual std::vector<ScaleZero> parameters() const = 0;
  nn::Codes codes_for(const Tensor&) const override;

  Role role;
  Coding coding = Coding::symmetric;
  QuantShare share = QuantShare::tensor;
  Rounding rounding = Rounding::half_even;
  int64_t groups = 1;
  Tensor calibrated;  // [1], 1 once ranges are not a guess any more
  Tensor codes;       // [2], of an automatic coding: lo, hi

 protected:
  /// Turns what was observed into scales.
  virtual void set_ranges(const Observer& observer) = 0;
  /// The fake quantization of x, once scales are there.
  virtual Tensor apply(const Tensor& x) = 0;
  /// In training the first batch calibrates what has not been calibrated.
  Tensor quantize(const Tensor& x) override;
  /// A fresh observer; the one that the options name unless overridden.
  virtual std::shared_ptr<Observer> make_observer() const;
  ObserverSetup setup() const { return {role, share, groups, spec_.options}; }
  /// Codes, rounding and share for the op.
  FakeQuantOptions op_options() const;

  QuantizerSpec spec_;

 private:
  int bits_;
  std::shared_ptr<Observer> observer_;  // while calibrating
};

}  // namespace pare::quant
