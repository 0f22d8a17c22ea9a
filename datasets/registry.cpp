#include "core/error.h"
#include "datasets/by_name.h"
#include "datasets/sources.h"

namespace pare::datasets {

namespace {

struct Row {
  const char *name, *normalize;
  std::shared_ptr<const ImageSet> (*load)(const LoadOptions&);
};

template <PixelSet (*F)(const LoadOptions&)>
std::shared_ptr<const ImageSet> pixels(const LoadOptions& options) {
  return std::make_shared<const PixelSet>(F(options));
}

constexpr Row kSets[] = {
    {"cifar10", "cifar10", pixels<load_cifar10>},
    {"cifar100", "cifar100", pixels<load_cifar100>},
    {"mnist", "mnist", pixels<load_mnist>},
    {"fashion-mnist", "fashion-mnist", pixels<load_fashion_mnist>},
    {"synthetic", "synthetic", pixels<draw_synthetic>},
    {"imagenet", "imagenet", load_photos},
};

}  // namespace

std::shared_ptr<const ImageSet> load(const LoadOptions& options) {
  PARE_CHECK(options.limit >= 0, "dataset: limit must be >= 0, got ", options.limit);
  const Row& row = find_by_name(kSets, "dataset", options.name);
  return row.load(options);
}

std::vector<std::string> names() { return names_of(kSets); }

bool has_photos(const std::string& name) {
  return find_by_name(kSets, "dataset", name).load == load_photos;
}

std::string default_normalize(const std::string& dataset) {
  return find_by_name(kSets, "dataset", dataset).normalize;
}

}  // namespace pare::datasets
