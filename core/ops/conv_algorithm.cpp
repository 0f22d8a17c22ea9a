#include "core/ops/conv_algorithm.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "core/alloc.h"
#include "core/error.h"
#include "core/files.h"
#include "core/kernels/isa.h"
#include "core/ops/conv_passes.h"
#include "core/ops/conv_weight_winograd.h"
#include "core/precision.h"
#include "core/winograd.h"

namespace pare {

namespace {

using kernels::ConvShape;
using kernels::WinogradKind;
using Choice = std::optional<WinogradKind>;

WinogradUse& use() {
  static WinogradUse value = [] {
    const char* text = std::getenv("PARE_WINOGRAD");
    return parse_winograd_use(text ? text : "auto");
  }();
  return value;
}

std::string name_of(const Choice& choice) {
  return choice ? str("F(", choice->m, "x", choice->m, ")", choice->bf16 ? " bf16" : "") : "direct";
}

/// With fewer images the time is that of transforming the weights: a case of its own, so that who
/// looks at one image first does not choose for a training.
constexpr int64_t kFewImages = 8;

/// What the fastest way depends on.
struct Case {
  Isa isa;
  bool few, bf16, weights;  // weights: their gradient
  int64_t height, width, channels, taps_h, taps_w, rows, cols, outputs;

  auto operator<=>(const Case&) const = default;
  std::string name() const {
    return str(isa_name(isa), few ? " few " : " ", height, "x", width, "x", channels, " ", taps_h,
               "x", taps_w, " ", rows, "x", cols, "x", outputs, bf16 ? " bf16" : "",
               weights ? " weights" : "");
  }
};

Case case_of(const GatherPass& pass, bool bf16, bool weights) {
  const auto& p = pass.p;
  return {.isa = active_isa(),
          .few = pass.images < kFewImages,
          .bf16 = bf16,
          .weights = weights,
          .height = p.height,
          .width = p.width,
          .channels = p.channels,
          .taps_h = p.taps_h,
          .taps_w = p.taps_w,
          .rows = p.rows,
          .cols = p.cols,
          .outputs = pass.outputs};
}

/// Raised when kernels become faster or slower: what was measured with others does not count.
constexpr int kKernels = 9;

/// What was measured, here and by earlier processes.
class Memory {
 public:
  Memory() : path_(default_path()) {
    if (path_.empty() || !std::filesystem::exists(path_)) return;
    try {
      const auto json = nlohmann::json::parse(read_file(path_));
      if (json.at("kernels") != kKernels) return;
      for (const auto& [key, value] : json.at("fastest").items()) known_[key] = value;
    } catch (const std::exception&) {
      known_.clear();  // a damaged cache is measured anew
    }
  }
  /// Null if nobody has measured this.
  const Choice* find(const Case& c, const std::vector<WinogradKind>& kinds) {
    const auto chosen = chosen_.find(c);
    if (chosen != chosen_.end()) return &chosen->second;
    const auto known = known_.find(c.name());
    if (known == known_.end()) return nullptr;
    Choice& choice = chosen_[c];
    for (const WinogradKind& kind : kinds) {
      if (name_of(kind) == known->second) choice = kind;
    }
    return &choice;
  }
  void remember(const Case& c, const Choice& choice) {
    chosen_[c] = choice;
    known_[c.name()] = name_of(choice);
    if (path_.empty()) return;
    try {
      std::filesystem::create_directories(std::filesystem::path(path_).parent_path());
      const std::string text =
          nlohmann::json{{"kernels", kKernels}, {"fastest", known_}}.dump(1) + "\n";
      write_file_atomically(path_, {text});
    } catch (const std::exception&) {
      path_.clear();  // no place to keep it: this process remembers
    }
  }

 private:
  static std::string default_path() {
    const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
    if (cache && *cache) return std::string(cache) + "/pare/convolutions.json";
    return home && *home ? std::string(home) + "/.cache/pare/convolutions.json" : "";
  }

  std::string path_;
  std::map<std::string, std::string> known_;  // as in the file
  std::map<Case, Choice> chosen_;             // what this process has asked for
};

Memory& memory() {
  static Memory one;
  return one;
}

/// The fastest of several ways, measured in turn: a busy moment hits all alike.
template <class Run>
Choice fastest(const std::vector<WinogradKind>& kinds, Run&& run) {
  constexpr int kRounds = 4;
  using Clock = std::chrono::steady_clock;
  std::vector<Choice> choices{std::nullopt};
  choices.insert(choices.end(), kinds.begin(), kinds.end());
  std::vector<double> best(choices.size(), 1e30);
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < choices.size(); ++i) {
      const auto start = Clock::now();
      run(choices[i]);
      best[i] = std::min(best[i], std::chrono::duration<double>(Clock::now() - start).count());
    }
  }
  return choices[static_cast<size_t>(std::min_element(best.begin(), best.end()) - best.begin())];
}

/// Images that are enough to measure with.
int64_t some_images(int64_t images, int64_t floats_per_image) {
  constexpr int64_t kFloats = 4 << 20;
  return std::clamp<int64_t>(kFloats / floats_per_image, 1, images);
}

Choice measure(GatherPass pass, bool bf16, const std::vector<WinogradKind>& kinds) {
  const int64_t image = pass.x_pixels * pass.p.channels;
  pass.images = some_images(pass.images, image);
  const Tensor x = Tensor::full({pass.images * image}, 0.01f);
  const Tensor w = Tensor::full({pass.p.reduction() * pass.outputs}, 0.01f);
  Tensor y = Tensor::uninit({pass.images * pass.y_image});
  return fastest(kinds, [&](const Choice& c) {
    Gather({pass}, x, w, {}, {.winograd = c, .bf16 = bf16 && !c}).run(y.data());
  });
}

Choice measure(ConvShape s, const std::vector<WinogradKind>& kinds) {
  s.images = some_images(s.images, s.height * s.width * s.in);
  const Tensor x = Tensor::full({s.images, s.height, s.width, s.in}, 0.01f);
  const Tensor dy = Tensor::full({s.images, s.out_h(), s.out_w(), s.out}, 0.01f);
  const Shape shape{s.out, s.kernel_h, s.kernel_w, s.in};
  return fastest(kinds, [&](const Choice& c) {
    c ? winograd_weight_gradient(s, *c, x, dy, shape, nullptr)
      : direct_weight_gradient(s, x, dy, shape, nullptr);
  });
}

/// The remembered choice, or the one that measure() makes now.
template <class Measure>
Choice choose(const std::vector<WinogradKind>& kinds, const Case& c, Measure&& measure) {
  if (kinds.empty() || use() == WinogradUse::off) return {};
  if (use() == WinogradUse::always) return kinds.back();
  if (const Choice* known = memory().find(c, kinds)) return *known;
  const Choice choice = measure();
  release_cached_memory();  // what only the slower ways needed
  memory().remember(c, choice);
  return choice;
}

}  // namespace

WinogradUse winograd_use() { return use(); }
void set_winograd_use(WinogradUse value) { use() = value; }

const char* winograd_use_name(WinogradUse value) {
  return value == WinogradUse::off ? "off" : value == WinogradUse::always ? "always" : "auto";
}

WinogradUse parse_winograd_use(std::string_view name) {
  for (const auto value : {WinogradUse::off, WinogradUse::automatic, WinogradUse::always}) {
    if (name == winograd_use_name(value)) return value;
  }
  PARE_CHECK(false, "winograd: got '", name, "', expected auto, off or always");
}

std::vector<WinogradKind> winograd_kinds(const GatherPass& pass, bool bf16) {
  const bool dense = pass.y_image == pass.p.rows * pass.p.y_row && pass.y_offset == 0;
  std::vector<WinogradKind> kinds;
  for (const bool rounded : {false, true}) {
    if (!dense || (rounded && !bf16)) break;
    for (WinogradKind kind : {WinogradKind{2, 3}, WinogradKind{4, 3}, WinogradKind{2, 5}}) {
      kind.bf16 = rounded;
      if (kernels::WinogradPlan::applies(pass.p, pass.groups, pass.outputs, kind)) {
        kinds.push_back(kind);
      }
    }
  }
  return kinds;
}

Choice chosen_kind(const GatherPass& pass, bool bf16) {
  const auto kinds = winograd_kinds(pass, bf16);
  return choose(kinds, case_of(pass, bf16, false), [&] { return measure(pass, bf16, kinds); });
}

Choice chosen_weight_kind(const ConvShape& s) {
  const GatherPass pass = forward_pass(s);
  const bool bf16 = precision() == Precision::bf16;
  const auto kinds = winograd_kinds(pass, bf16);
  return choose(kinds, case_of(pass, bf16, true), [&] { return measure(s, kinds); });
}

}  // namespace pare
