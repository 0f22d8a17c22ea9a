#include "datasets/by_name.h"
#include "datasets/datasets.h"

namespace pare::datasets {

namespace {

struct Preset {
  const char* name;
  Normalize value;
};

/// Statistics of each training set, as its users quote them.
constexpr Preset kPresets[] = {
    {"none", {}},
    {"half", {{0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}}},
    {"cifar10", {{0.4914f, 0.4822f, 0.4465f}, {0.2023f, 0.1994f, 0.2010f}}},
    {"cifar100", {{0.5071f, 0.4867f, 0.4408f}, {0.2675f, 0.2565f, 0.2761f}}},
    {"mnist", {{0.1307f, 0.1307f, 0.1307f}, {0.3081f, 0.3081f, 0.3081f}}},
    {"fashion-mnist", {{0.2860f, 0.2860f, 0.2860f}, {0.3530f, 0.3530f, 0.3530f}}},
    {"imagenet", {{0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}}},
    {"synthetic", {{0.5f, 0.5f, 0.5f}, {0.3f, 0.3f, 0.3f}}},
};

}  // namespace

Normalize normalize_preset(const std::string& name) {
  return find_by_name(kPresets, "normalize", name).value;
}

std::vector<std::string> normalize_names() { return names_of(kPresets); }

}  // namespace pare::datasets
