// A program is believed by nothing that runs it until it has passed this.

#include <algorithm>
#include <cmath>
#include <set>

#include "core/error.h"
#include "deploy/runtime/program.h"

namespace pare::runtime {

namespace {

constexpr int64_t kMostBytes = int64_t{1} << 31;  // of a buffer
constexpr int32_t kMostWindow = 1024;

bool between(int64_t x, int64_t lo, int64_t hi) { return lo <= x && x <= hi; }

void check_buffer(const Buffer& b) {
  PARE_CHECK(b.type == Type::f32 || b.type == Type::u8 || b.type == Type::bits, "program: buffer '",
             b.name, "' has an unknown type");
  constexpr int32_t kMost = 1 << 24;
  PARE_CHECK(between(b.h, 1, kMost) && between(b.w, 1, kMost) && between(b.c, 1, kMost) &&
                 b.pixels() <= kMostBytes / b.pixel_bytes(),
             "program: buffer '", b.name, "' is ", b.h, " x ", b.w, " x ", b.c,
             ", which is empty or too large");
  PARE_CHECK(std::isfinite(b.scale) && b.scale > 0 && between(b.zero, 0, 255), "program: buffer '",
             b.name, "' has the scale ", b.scale, " and the zero point ", b.zero,
             ", expected a positive one and 0 to 255");
}

/// Checks of one op; what it reads has been written.
class OpCheck {
 public:
  OpCheck(const Program& program, const Op& op) : program_(program), op_(op) {}

  void run() const {
    const size_t wanted = op_.kind == OpKind::add || op_.kind == OpKind::mul ? 2 : 1;
    need(op_.kind == OpKind::concat ? !op_.inputs.empty() : op_.inputs.size() == wanted,
         "number of inputs");
    check_finish();
    switch (op_.kind) {
      case OpKind::conv:
        return conv();
      case OpKind::max_pool:
        window();
        need(out().c == in().c, "channels");
        return same_codes(in());
      case OpKind::avg_pool:
        window();
        need(out().c == in().c, "channels");
        need(in().type == Type::u8 ? out().type != Type::bits : both(Type::f32), "types");
        return need(op_.finish.scale.size() == 1 && op_.finish.bias.empty(), "scales");
      case OpKind::add:
        return sum();
      case OpKind::mul:
        need(both(Type::f32) && in(1).type == Type::f32, "types");
        return need(same_shape(in(), out()) && in(1).pixels() == 1 && in(1).c == in().c, "shapes");
      case OpKind::convert:
        return convert();
      default:
        return moves();
    }
  }

 private:
  const Buffer& in(size_t i = 0) const {
    return program_.buffers[static_cast<size_t>(op_.inputs[i])];
  }
  const Buffer& out() const { return program_.buffers[static_cast<size_t>(op_.output)]; }
  bool both(Type type) const { return in().type == type && out().type == type; }
  static bool same_shape(const Buffer& a, const Buffer& b) {
    return a.h == b.h && a.w == b.w && a.c == b.c;
  }
  void need(bool ok, const char* what) const {
    PARE_CHECK(ok, "program: op '", op_.name, "': its ", what, " cannot be right");
  }
  void same_codes(const Buffer& a) const {
    need(a.type == out().type && a.scale == out().scale && a.zero == out().zero, "types");
  }

  void check_finish() const {
    const Finish& f = op_.finish;
    const auto finite = [](const std::vector<float>& v) {
      return std::all_of(v.begin(), v.end(), [](float x) { return std::isfinite(x); });
    };
    need(finite(f.scale) && finite(f.bias), "scales");
    need(f.min <= f.max, "limits");  // no NaN passes
    const bool encodes = op_.kind != OpKind::convert || in().type == Type::f32;
    const bool coded = out().type == Type::u8 && op_.kind != OpKind::max_pool &&
                       op_.kind < OpKind::concat && encodes;
    const auto zero = static_cast<float>(out().zero);
    need(!coded || (f.min >= -zero && f.max <= 255 - zero), "limits");
  }

  void window() const {
    const Window& w = op_.window;
    for (int32_t x : {w.kh, w.kw, w.sh, w.sw, w.dh, w.dw})
      need(between(x, 1, kMostWindow), "window");
    for (int32_t x : {w.ph, w.pw}) need(between(x, 0, kMostWindow), "window");
    // Every window touches the image: an average or a maximum of nothing is no number.
    const int64_t last_h = int64_t{out().h - 1} * w.sh - w.ph;
    const int64_t last_w = int64_t{out().w - 1} * w.sw - w.pw;
    if (op_.kind == OpKind::conv) {
      need(last_h + int64_t{w.dh} * (w.kh - 1) < in().h + w.ph, "shapes");
      need(last_w + int64_t{w.dw} * (w.kw - 1) < in().w + w.pw, "shapes");
    } else {
      need(w.dh == 1 && w.dw == 1 && w.ph < w.kh && w.pw < w.kw, "window");
      need(last_h < in().h && last_w < in().w, "shapes");
    }
  }

  void conv() const {
    window();
    const Window& w = op_.window;
    need(op_.groups >= 1 && in().c % op_.groups == 0 && out().c % op_.groups == 0, "groups");
    const int64_t filter = int64_t{w.kh} * w.kw * (in().c / op_.groups);
    // 2^16 * 255 * 128 is still an int32, and so is 2^15 * 255 * 255.
    need(filter <= (op_.coding == Coding::o8 ? 1 << 15 : 1 << 16), "filters");
    need(op_.weights.size == filter_bytes(op_.coding, filter) * out().c, "weights");
    need(op_.coding != Coding::f32 || in().type == Type::f32, "weights");
    need(in().type != Type::f32 || out().type != Type::u8, "types");
    const int64_t words = int64_t{w.kh} * w.kw * (in().c / op_.groups / 32 + 2);
    need(in().type != Type::bits || words <= 4096, "filters");
    need(in().type != Type::bits || op_.coding == Coding::ternary || op_.coding == Coding::binary,
         "weights");
    per_channel();
  }

  void per_channel() const {
    const Finish& f = op_.finish;
    const auto channels = static_cast<size_t>(out().c);
    if (out().type == Type::bits && in().type != Type::f32) {
      need(f.threshold.size() == channels && f.scale.empty() && f.bias.empty(), "thresholds");
      need(f.falls.empty() || f.falls.size() == (channels + 7) / 8, "directions");
    } else {
      need(f.scale.size() == channels && f.bias.size() == channels, "scales");
      need(f.threshold.empty() && f.falls.empty(), "thresholds");
    }
  }

  void sum() const {
    need(same_shape(in(0), in(1)) && same_shape(in(0), out()), "shapes");
    need(in(0).type == in(1).type && in(0).type != Type::bits && out().type != Type::bits, "types");
    need(in(0).type == Type::u8 || out().type == Type::f32, "types");
    need(op_.finish.scale.size() == 2, "scales");
  }

  void convert() const {
    need(same_shape(in(), out()), "shapes");
    const Finish& f = op_.finish;
    const bool encodes = in().type == Type::f32 && out().type != Type::f32;
    need(encodes || out().type == Type::f32 ||
             (in().type == Type::bits && out().type == Type::u8 && out().zero == 1),
         "types");
    need(!(encodes && out().type == Type::u8) || f.scale.size() == 1, "scales");
    if (encodes && out().type == Type::u8) need(f.scale[0] > 0, "scales");
  }

  void moves() const {
    int64_t channels = 0;
    if (op_.kind != OpKind::affine) same_codes(in());
    for (size_t i = 0; i < op_.inputs.size(); ++i) {
      channels += in(i).c;
      if (op_.kind == OpKind::concat) same_codes(in(i));
      if (op_.kind != OpKind::flatten) need(in(i).h == out().h && in(i).w == out().w, "shapes");
    }
    if (op_.kind == OpKind::concat) return need(channels == out().c && !both(Type::bits), "shapes");
    if (op_.kind == OpKind::pad) {
      need(op_.pad_before >= 0 && int64_t{op_.pad_before} + in().c <= out().c, "shapes");
      return need(!both(Type::bits), "types");
    }
    if (op_.kind == OpKind::flatten) {
      need(out().pixels() == 1 && out().c == in().numel(), "shapes");
      return need(!both(Type::bits) || in().pixels() == 1, "types");
    }
    need(in().c == out().c, "channels");
    if (op_.kind == OpKind::shuffle)
      return need(op_.groups >= 1 && in().c % op_.groups == 0, "groups");
    need(both(Type::f32), "types");
    if (op_.kind == OpKind::affine) return per_channel();
    need(op_.finish.scale.size() == 1, "scales");
  }

  const Program& program_;
  const Op& op_;
};

}  // namespace

void check(const Program& p) {
  const auto buffers = static_cast<int64_t>(p.buffers.size());
  PARE_CHECK(between(p.input, 0, buffers - 1) && between(p.output, 0, buffers - 1),
             "program: its input or output is not one of its ", buffers, " buffers");
  for (const Buffer& b : p.buffers) check_buffer(b);
  PARE_CHECK(p.buffers[static_cast<size_t>(p.input)].type == Type::f32 &&
                 p.buffers[static_cast<size_t>(p.output)].type == Type::f32,
             "program: its input and output must be floats");
  const auto channels = static_cast<size_t>(p.buffers[static_cast<size_t>(p.input)].c);
  PARE_CHECK(
      (p.mean.empty() && p.std.empty()) || (p.mean.size() == channels && p.std.size() == channels),
      "program: its mean and deviation are not those of ", channels, " channels");
  const auto usable = [](float s) { return std::isfinite(s) && s > 0; };
  PARE_CHECK(std::all_of(p.std.begin(), p.std.end(), usable),
             "program: a deviation of the images is not a positive number");
  std::set<int32_t> written = {p.input};
  for (const Op& op : p.ops) {
    for (int32_t i : op.inputs) {
      PARE_CHECK(written.count(i), "program: op '", op.name, "' reads what is not there yet");
    }
    PARE_CHECK(between(op.output, 0, buffers - 1) && written.insert(op.output).second,
               "program: op '", op.name, "' writes what is not its own");
    OpCheck(p, op).run();
  }
  PARE_CHECK(written.count(p.output), "program: nothing writes its output");
}

}  // namespace pare::runtime
