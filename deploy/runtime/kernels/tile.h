#pragma once
// The inner loops of convolution, per instruction set. All see their input as words of 32 bits: a
// float, four codes or 32 signs, at any address, and their weights as panels [words][16]: one word
// for each of 16 filters. An instruction set brings its own of each, and all give the same bytes.

#include <cstdint>

namespace pare::runtime::kernels {

inline constexpr int kPanel = 16;    // filters of a panel
inline constexpr int kMaxRows = 16;  // pixels of a tile
inline constexpr int kMaxPanels = 3;
inline constexpr int kMaxSignRows = 8;      // pixels of a tile of signs
inline constexpr int kWidePanel = 64;       // filters of a panel that tables are looked up for
inline constexpr int kMaxSignWords = 4096;  // of a window

/// `rows` pixels times `panels` panels. The window of a pixel is `runs` runs of `run` words.
struct Tile {
  const uint8_t* x;        // window of the first pixel
  int64_t x_pixel;         // bytes to the window of the next one
  const int64_t* offsets;  // [runs]: bytes from the window's start
  int64_t runs, run;
  const uint32_t* w;     // [panels][runs * run][16]
  const void* start;     // [panels * 16] of what raw is: sums begin with it; not of signs
  const uint32_t* mask;  // of signs: which are there; null: all
  const int32_t* const*
      base;   // of signs, for each pixel: [panels * 16] what nothing differing gives
  void* raw;  // [rows][panels * 16], float or int32_t
};

/// raw = scale * sum + bias and what follows, for rows of `count` channels.
struct FinishTile {
  const void* raw;
  int64_t raw_row;
  int64_t rows, count;
  const float *scale, *bias;  // [count]
  float min, max;
  int32_t zero;
  bool half_away;
  void* y;
  int64_t y_row;  // elements
};

/// Signs of `rows` pixels, 16 channels to a number; all that is read goes on to a multiple of 16.
///   of whole numbers  raw >= threshold, not where `falls`
///   of floats         clamp(scale raw + bias, min, max) >= 0
struct FinishBits {
  const void* raw;
  int64_t raw_row;
  int64_t rows, count;
  const int32_t* threshold = nullptr;
  const uint16_t* falls = nullptr;  // 16 channels to a number
  const float *scale = nullptr, *bias = nullptr;
  float min = 0, max = 0;
  uint16_t* y = nullptr;  // [rows][y_row]
  int64_t y_row = 0;
};

/// y = round(clamp(scale_a (a - zero_a) + scale_b (b - zero_b), min, max)) + zero
struct AddCodes {
  const uint8_t *a, *b;
  int64_t n;
  float scale_a, scale_b;
  int32_t zero_a, zero_b, zero;
  float min, max;
  bool half_away;
  uint8_t* y;
};

/// y = clamp(scale_a a + scale_b b, min, max)
struct AddFloats {
  const float *a, *b;
  int64_t n;
  float scale_a, scale_b, min, max;
  float* y;
};

/// Codes of floats.
///   divide    round(clamp(x / scale + shift, min, max)) + zero
///   multiply  round(clamp(clamp(scale x, 0, 1) steps, min, max)) + zero
///   ternary   1 for x > scale, -1 for x < -scale, else 0; + zero
struct Encode {
  enum class How : uint8_t { divide, multiply, ternary };
  How how;
  const float* x;
  int64_t n;
  float scale, shift, steps, min, max;
  int32_t zero;
  bool half_away;
  uint8_t* y;
};

/// v[point][tile][channel] = (B^T d B)[point] of a row of tiles, m pixels apart: the alpha x alpha
/// pixels at x + tile m channels. Of points 0, 1, -1, infinity (alpha 4), 2 and -2 too (6). Reads
/// and writes whole panels: what stands behind the last channel of v means nothing.
struct WinogradInput {
  int alpha, m;
  const float* x;
  int64_t x_row, channels, tiles;
  float* v;
  int64_t v_tile, plane;  // from tile to tile, from point to point
};

/// y[row][tile m + column][channel] = (A^T products A)[row][column] of a row of tiles; channels are
/// whole panels.
struct WinogradOutput {
  int alpha, m;
  const float* products;  // [point][tile][channel]
  int64_t plane, channels, tiles;
  float* y;
  int64_t y_row;
};

using TileKernel = void (*)(const Tile&) noexcept;
using FinishKernel = void (*)(const FinishTile&) noexcept;

struct Kernels {
  const char* name;
  int panels;                               // of the widest tile
  int rows[kMaxPanels];                     // of the highest one with so many panels
  int sign_rows;                            // likewise, of signs
  TileKernel floats[kMaxRows][kMaxPanels];  // [rows - 1][panels - 1]
  TileKernel codes[kMaxRows][kMaxPanels];
  void (*signs)(const Tile&, int64_t rows, int64_t panels) noexcept;
  /// Signs as well, four at a time: runs are of bytes, and w has a byte for each four,
  /// [panels][runs * run * 2][kWidePanel].
  TileKernel tables[kMaxSignRows][kMaxPanels];
  bool likes_tables;  // where they have less to do than `signs`
  FinishKernel float_to_float, int_to_float, int_to_code;
  void (*int_to_bits)(const FinishBits&) noexcept;
  void (*float_to_bits)(const FinishBits&) noexcept;
  /// The signs of n floats, low bits first, zeros up to a whole byte.
  void (*signs_of)(const float* x, int64_t n, uint8_t* y) noexcept;
  void (*add_codes)(const AddCodes&) noexcept;
  void (*add_floats)(const AddFloats&) noexcept;
  void (*encode)(const Encode&) noexcept;
  /// raw[c] = sum over taps of (x[tap][c] - zero) w[tap][c]; a null tap is outside of the image.
  void (*depthwise_codes)(const uint8_t* const* x, const int8_t* w, int64_t taps, int64_t channels,
                          int32_t zero, int32_t* raw) noexcept;
  void (*depthwise_floats)(const float* const* x, const float* w, int64_t taps, int64_t channels,
                           float zero, float* raw) noexcept;
  void (*winograd_input)(const WinogradInput&) noexcept;
  void (*winograd_output)(const WinogradOutput&) noexcept;
};

extern const Kernels kPortable, kAvx2, kAvx512;
/// `signs` of a CPU that has VPOPCNTDQ beside AVX-512.
void signs_by_popcount(const Tile&, int64_t rows, int64_t panels) noexcept;

/// The best for this CPU, or what PARE_ISA names (portable, avx2, avx512). Throws on a name that is
/// unknown or needs another CPU.
const Kernels& active();
/// Of every instruction set this CPU has, worst first.
const Kernels* const* supported(int* count);
/// Used from now on; null: what the CPU and PARE_ISA say.
void force(const Kernels* kernels);

}  // namespace pare::runtime::kernels
