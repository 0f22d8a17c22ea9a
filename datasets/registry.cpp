#include "core/error.h"
#include "datasets/by_name.h"
#include "datasets/sources.h"

namespace pare::datasets {

namespace {

struct Row {
  const char *name, *normalize;
  ImageSet (*load)(const LoadOptions&);
};

constexpr Row kSets[] = {
    {"cifar10", "cifar10", load_cifar10},
    {"cifar100", "cifar100", load_cifar100},
    {"mnist", "mnist", load_mnist},
    {"fashion-mnist", "fashion-mnist", load_fashion_mnist},
    {"synthetic", "synthetic", draw_synthetic},
};

}  // namespace

std::shared_ptr<const ImageSet> load(const LoadOptions& options) {
  PARE_CHECK(options.limit >= 0, "dataset: limit must be >= 0, got ", options.limit);
  const Row& row = find_by_name(kSets, "dataset", options.name);
  return std::make_shared<const ImageSet>(row.load(options));
}

std::vector<std::string> names() { return names_of(kSets); }

std::string default_normalize(const std::string& dataset) {
  return find_by_name(kSets, "dataset", dataset).normalize;
}

}  // namespace pare::datasets
