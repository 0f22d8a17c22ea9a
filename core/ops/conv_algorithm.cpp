#include "core/ops/conv_algorithm.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/kernels/isa.h"
#include "core/winograd.h"

namespace pare {

namespace {

using kernels::WinogradKind;
using Choice = std::optional<WinogradKind>;

WinogradUse& use() {
  static WinogradUse value = [] {
    const char* text = std::getenv("PARE_WINOGRAD");
    const std::string name = text ? text : "auto";
    PARE_CHECK(name == "auto" || name == "off" || name == "always", "PARE_WINOGRAD: got '", name,
               "', expected auto, off or always");
    return name == "auto"  ? WinogradUse::automatic
           : name == "off" ? WinogradUse::off
                           : WinogradUse::always;
  }();
  return value;
}

std::string name_of(const Choice& choice) {
  return choice ? str("F(", choice->m, "x", choice->m, ")") : "direct";
}

std::string key_of(const GatherPass& pass) {
  const auto& p = pass.p;
  return str(isa_name(active_isa()), " ", p.height, "x", p.width, "x", p.channels, " ", p.taps_h,
             "x", p.taps_w, " ", p.rows, "x", p.cols, "x", pass.outputs);
}

/// What was measured, here and by earlier processes.
class Memory {
 public:
  Memory() : path_(default_path()) {
    if (path_.empty() || !std::filesystem::exists(path_)) return;
    try {
      const auto json = nlohmann::json::parse(read_file(path_));
      for (const auto& [key, value] : json.at("fastest").items()) known_[key] = value;
    } catch (const std::exception&) {
      known_.clear();  // a damaged cache is measured anew
    }
  }
  const std::string* find(const std::string& key) const {
    const auto it = known_.find(key);
    return it == known_.end() ? nullptr : &it->second;
  }
  void remember(const std::string& key, const std::string& name) {
    known_[key] = name;
    if (path_.empty()) return;
    try {
      std::filesystem::create_directories(std::filesystem::path(path_).parent_path());
      const std::string text = nlohmann::json{{"fastest", known_}}.dump(1) + "\n";
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
  std::map<std::string, std::string> known_;
};

double seconds(const Gather& work, float* y) {
  const auto start = std::chrono::steady_clock::now();
  work.run(y);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Choice measure(GatherPass pass, const std::vector<WinogradKind>& kinds) {
  constexpr int64_t kFloats = 4 << 20;
  constexpr int kRounds = 4;
  const auto& p = pass.p;
  const int64_t image = pass.x_pixels * p.channels;
  pass.images = std::clamp<int64_t>(kFloats / image, 1, pass.images);
  const Tensor x = Tensor::full({pass.images * image}, 0.01f);
  const Tensor w = Tensor::full({p.reduction() * pass.outputs}, 0.01f);
  Tensor y = Tensor::uninit({pass.images * pass.y_image});
  std::vector<Choice> choices{std::nullopt};
  choices.insert(choices.end(), kinds.begin(), kinds.end());
  std::vector<double> best(choices.size(), 1e30);
  for (int round = 0; round < kRounds; ++round) {  // in turn: a busy moment hits all alike
    for (size_t i = 0; i < choices.size(); ++i) {
      const Gather work({pass}, x, w, {}, choices[i]);
      best[i] = std::min(best[i], seconds(work, y.data()));
    }
  }
  return choices[static_cast<size_t>(std::min_element(best.begin(), best.end()) - best.begin())];
}

}  // namespace

WinogradUse winograd_use() { return use(); }
void set_winograd_use(WinogradUse value) { use() = value; }

std::vector<WinogradKind> winograd_kinds(const GatherPass& pass) {
  std::vector<WinogradKind> kinds;
  for (const WinogradKind kind : {WinogradKind{2, 3}, WinogradKind{4, 3}, WinogradKind{2, 5}}) {
    const bool dense = pass.y_image == pass.p.rows * pass.p.y_row && pass.y_offset == 0;
    if (dense && kernels::WinogradPlan::applies(pass.p, pass.groups, pass.outputs, kind)) {
      kinds.push_back(kind);
    }
  }
  return kinds;
}

Choice chosen_kind(const GatherPass& pass) {
  if (use() == WinogradUse::off) return {};
  const std::vector<WinogradKind> kinds = winograd_kinds(pass);
  if (kinds.empty()) return {};
  if (use() == WinogradUse::always) return kinds.back();
  static Memory memory;
  const std::string key = key_of(pass);
  if (const std::string* known = memory.find(key)) {
    for (const WinogradKind& kind : kinds) {
      if (name_of(kind) == *known) return kind;
    }
    return {};
  }
  const Choice choice = measure(pass, kinds);
  memory.remember(key, name_of(choice));
  return choice;
}

}  // namespace pare
