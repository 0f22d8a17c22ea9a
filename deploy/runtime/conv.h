#pragma once
// A convolution made ready to run: weights in panels, constants of the finish side by side.

#include <cstdint>
#include <vector>

#include "deploy/runtime/kernels/tile.h"
#include "deploy/runtime/program.h"
#include "deploy/runtime/winograd.h"

namespace pare::runtime {

class Conv {
 public:
  Conv(const Program& program, const Op& op);

  /// Pieces of one image that may be computed by different threads.
  int64_t units() const;
  /// Computes one; `scratch` is the thread's own.
  void run(int64_t unit, const uint8_t* x, uint8_t* y, std::vector<uint32_t>& scratch) const;

 private:
  enum class Kind : uint8_t { floats, winograd, codes, signs, depthwise };
  /// Output rows [r0, r1) and columns [c0, c1).
  struct Unit {
    int64_t r0, r1, c0, c1;
  };
  /// Where the windows of a unit are: row r, column c at x + (r - r0) row + c column.
  struct Source {
    const uint8_t* x;
    int64_t row, column;  // bytes
  };

  void lay_out();
  void lay_out_panels();
  void build_panels();
  void build_ones();
  /// One filter, [taps][in_of_group], into lane `at` of the panels.
  void place(int64_t at, int64_t group, const int8_t* w, const float* floats);
  void build_base(const std::vector<int8_t>& weights);
  void build_finish(const Op& op);
  /// Of a group, in bytes within a pixel. Groups of signs may share words with their neighbours.
  int64_t first_byte(int64_t group) const;
  /// Where a filter stands among all that have a lane: those of each group begin a panel.
  int64_t padded(int64_t filter) const;
  int64_t padded_channels() const;

  Unit unit_of(int64_t unit) const;
  Source source(const Unit& u, const uint8_t* x, std::vector<uint32_t>& scratch) const;
  /// Of the window of each pixel of the unit, counted from the zero.
  std::vector<int32_t> window_sums(const Unit& u, const Source& s, int64_t group) const;
  void run_panels(const Unit& u, const Source& s, int64_t group, int64_t panel, int64_t panels,
                  const std::vector<int32_t>& sums, uint8_t* y) const;
  void build_winograd();
  void run_winograd(int64_t unit, const uint8_t* x, uint8_t* y,
                    std::vector<uint32_t>& scratch) const;
  void run_depthwise(const Unit& u, const uint8_t* x, uint8_t* y) const;
  /// What becomes of `count` sums from a channel on; where they come from and go to is left open.
  kernels::FinishTile finish_of(int64_t channel, int64_t count) const;
  void finish(kernels::FinishTile& f, const void* raw, int64_t rows, int64_t channel,
              uint8_t* pixel) const;
  void finish_bits(const kernels::FinishTile& f, int64_t channel, uint8_t* pixel) const;

  Kind kind_ = Kind::floats;
  Winograd winograd_;
  Coding coding_;
  Bytes weights_;
  Buffer in_, out_;
  Window w_;
  int64_t groups_, in_of_group_, out_of_group_;
  int64_t h_, width_, oh_, ow_;  // as run: a 1x1 convolution sees one long row
  int64_t pixel_bytes_ = 0, group_bytes_ = 0, row_bytes_ = 0;  // as tiles read them
  int64_t panel_ = kernels::kPanel;                            // filters of one
  int64_t panels_of_group_ = 0, panel_words_ = 0;
  bool direct_ = false, flat_ = false, masked_ = false, tables_ = false;
  bool joined_ = false;  // the pixels of a row of the window are one run
  // Weights are 2 s + 1, of which panels hold s: raw = 2 sum of x s + sum of x. The latter is what
  // one panel more gives, of ones.
  bool odd_ = false;
  int64_t runs_ = 0, run_ = 0;
  std::vector<int64_t> offsets_;
  std::vector<uint32_t> panels_, masks_;
  std::vector<int8_t> depthwise_, ones_;  // [taps][channels]
  std::vector<float> depthwise_floats_;
  std::vector<int32_t> start_;  // bits of 0.0f for floats
  // By padded channel.
  std::vector<float> scale_, bias_;
  std::vector<int32_t> threshold_;
  std::vector<uint16_t> falls_;  // 16 channels to a number
  float min_, max_;
  bool half_away_;
  std::vector<int32_t> base_;  // [row classes][column classes][padded channels]
  std::vector<int32_t> row_class_, column_class_;
  int64_t column_classes_ = 1;
};

}  // namespace pare::runtime
