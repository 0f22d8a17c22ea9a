#pragma once
// A network as an integer program: buffers, and ops that fill them in order. Plain data, readable
// and runnable without the code that trained it. docs/deploy.md tells it in words.

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace pare::runtime {

/// How a value is held.
///   f32    as it is
///   u8     codes:  value = scale (code - zero)
///   bits   1 is +1, 0 is -1; 32 channels in a word, each pixel starts a new one
enum class Type : uint8_t { f32, u8, bits };

/// What an op reads or writes, for one image: h x w pixels of c channels, channels together.
struct Buffer {
  std::string name = {};
  Type type = Type::f32;
  int32_t h = 1, w = 1, c = 1;
  float scale = 1;  // of u8
  int32_t zero = 0;

  int64_t pixels() const { return int64_t{h} * w; }
  int64_t numel() const { return pixels() * c; }
  /// Bytes of one pixel.
  int64_t pixel_bytes() const {
    return type == Type::f32 ? int64_t{4} * c : type == Type::u8 ? c : (int64_t{c} + 31) / 32 * 4;
  }
  int64_t bytes() const { return pixels() * pixel_bytes(); }
};

/// How weights are stored; all but f32 are whole numbers, times a scale per filter.
///   s8, s4, s2   two's complement; 1, 2 or 4 in a byte, low bits first
///   o8, o4, o2   odd numbers, 2 s + 1, of which s is stored likewise: weights of DoReFa
///   ternary      -1, 0, 1: five in a byte, sum of (t_i + 1) 3^i
///   binary       -1, 1: eight in a byte, 1 is +1, low bits first
/// Each filter starts a new byte.
enum class Coding : uint8_t { f32, s8, s4, s2, ternary, binary, o8, o4, o2 };

/// Bytes of a filter of n weights.
int64_t filter_bytes(Coding coding, int64_t n);
const char* coding_name(Coding coding);
/// The weights of one filter as whole numbers; f32 has none.
void unpack_filter(Coding coding, const uint8_t* packed, int64_t n, int16_t* values);
void pack_filter(Coding coding, const int16_t* values, int64_t n, uint8_t* packed);

/// A run of bytes that a file or a vector owns.
struct Bytes {
  std::shared_ptr<const void> owner = {};
  const uint8_t* data = nullptr;
  int64_t size = 0;

  static Bytes of(std::vector<uint8_t> bytes);
};

enum class OpKind : uint8_t {
  conv,      // raw = sum over the window of x w; a linear layer is a convolution of one pixel
  max_pool,  // codes keep scale and zero
  avg_pool,  // raw = sum over the window of x
  add,       // t = scale[0] (a - zero_a) + scale[1] (b - zero_b)
  mul,       // y = a b, b of one pixel
  convert,   // between types, by `encoding`
  concat,    // channels
  shuffle,   // channel g k + j goes to j groups + g, k = c / groups
  pad,       // pad_before zeros in front of the channels, the rest behind
  flatten,   // [h, w, c] -> [1, 1, c h w], channels outermost
  affine,    // t = scale x + bias per channel
  function   // y = f(x)
};
inline constexpr int kOpKinds = static_cast<int>(OpKind::function) + 1;

/// How `convert` makes codes of floats. All end with min <= code - zero <= max.
///   divide     round(x / scale) + zero, or round(x / scale + zero) if shift_first
///   multiply   round(clamp(scale x, 0, 1) max)
///   ternary    1 for x > scale, -1 for x < -scale, else 0
enum class Encoding : uint8_t { divide, multiply, ternary };
enum class Function : uint8_t { leaky_relu, hard_swish, silu, sigmoid, tanh };

struct Window {
  int32_t kh = 1, kw = 1, sh = 1, sw = 1, ph = 0, pw = 0, dh = 1, dw = 1;
  bool count_pad = true;  // avg_pool: padding counts as zeros
};

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// How a raw result becomes a value.
///   t = clamp(scale raw + bias, min, max)      product and sum rounded one by one
///   f32   t        u8   round(t) + zero of the buffer; scale, bias, min and max are in its steps
///   bits  of whole numbers: raw >= threshold, or raw < threshold of channels that fall
///         of floats: t >= 0
/// A convolution of codes counts raw from their zero: sum of (code - zero) w.
struct Finish {
  std::vector<float> scale = {}, bias = {};  // [channels] of conv and affine, else [1] ([2] of add)
  std::vector<int32_t> threshold = {};       // [channels], in place of scale and bias
  std::vector<uint8_t> falls = {};           // a bit for each channel, low bits first; or none
  float min = -kInfinity, max = kInfinity;
  bool half_away = false;    // how halves are rounded; else to even
  bool shift_first = false;  // of `convert`
};

struct Op {
  std::string name = {};
  OpKind kind = OpKind::conv;
  std::vector<int32_t> inputs = {};
  int32_t output = 0;
  Window window = {};
  int32_t groups = 1;
  int32_t pad_before = 0;
  Encoding encoding = Encoding::divide;
  Function function = Function::leaky_relu;
  Finish finish = {};
  Coding coding = Coding::f32;  // of the weights [out, kh, kw, in / groups]
  Bytes weights = {};
};

struct Program {
  std::string name = {};                   // of the model
  std::vector<std::string> labels = {};    // of the classes, may be empty
  std::vector<float> mean = {}, std = {};  // of the images it was trained on, per channel
  std::vector<Buffer> buffers = {};
  int32_t input = 0, output = 0;
  std::vector<Op> ops = {};
};

/// Throws, naming the op, unless every op is one that can be run: shapes, types, lengths, order.
void check(const Program& program);
/// Multiply-accumulates of one image.
int64_t macs(const Program& program, const Op& op);

}  // namespace pare::runtime
