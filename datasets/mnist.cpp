#include <filesystem>

#include "core/error.h"
#include "datasets/files.h"
#include "datasets/sources.h"

namespace pare::datasets {

namespace {

namespace fs = std::filesystem;

// Two zero bytes, 8 for unsigned bytes, the number of dimensions.
constexpr uint32_t kImages = 0x00000803, kLabels = 0x00000801;

uint32_t big_endian(const uint8_t* p) {
  return uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | uint32_t{p[3]};
}

std::string hex(uint32_t value) {
  std::string text = "0x00000000";
  for (size_t i = 0; i < 8; ++i) text[9 - i] = "0123456789abcdef"[(value >> (4 * i)) & 15];
  return text;
}

struct Idx {
  std::vector<int64_t> sizes;
  std::vector<uint8_t> bytes;  // with the header
  const uint8_t* data() const { return bytes.data() + header(); }
  size_t header() const { return 4 + 4 * sizes.size(); }
};

/// Header and size must agree: magic, big-endian u32 per dimension, one byte per element.
Idx read_idx(const Layout& layout, const std::string& path, uint32_t magic) {
  Idx idx;
  idx.bytes = read_bytes(layout, path);
  idx.sizes.resize(magic & 255);
  PARE_CHECK(idx.bytes.size() >= idx.header(), layout.set, ": '", path, "' has ", idx.bytes.size(),
             " bytes, expected a header of ", idx.header(), hint(layout.hint));
  const uint32_t got = big_endian(idx.bytes.data());
  PARE_CHECK(got == magic, layout.set, ": '", path, "' starts with ", hex(got), ", expected ",
             hex(magic), (magic == kImages ? " (idx images)" : " (idx labels)"), hint(layout.hint));
  // In floating point no header, however damaged, overflows.
  double expected = static_cast<double>(idx.header()), elements = 1;
  for (size_t i = 0; i < idx.sizes.size(); ++i) {
    idx.sizes[i] = big_endian(idx.bytes.data() + 4 + 4 * i);
    elements *= static_cast<double>(idx.sizes[i]);
  }
  expected += elements;
  PARE_CHECK(elements > 0 && static_cast<double>(idx.bytes.size()) == expected, layout.set, ": '",
             path, "' has ", idx.bytes.size(), " bytes, expected ",
             static_cast<uint64_t>(std::min(expected, 9e18)), " for ", Shape(idx.sizes),
             ": is it cut off?", hint(layout.hint));
  return idx;
}

/// The file as its authors name it, with "." for the last "-", or packed.
std::string find_file(const Layout& layout, const std::string& folder, const std::string& name) {
  std::string dotted = name;
  dotted[dotted.rfind("-idx")] = '.';
  for (const std::string& form : {name, name + ".gz", dotted, dotted + ".gz"}) {
    const std::string path = (fs::path(folder) / form).string();
    if (fs::exists(path)) return path;
  }
  need_file(layout, (fs::path(folder) / name).string());  // throws
  return {};
}

PixelSet load_idx(const Layout& layout, const std::vector<std::string>& class_names,
                  const LoadOptions& options) {
  const std::string folder = find_folder(layout, options.dir);
  const std::string stem = options.split == Split::train ? "train" : "t10k";
  const std::string image_path = find_file(layout, folder, stem + "-images-idx3-ubyte");
  const std::string label_path = find_file(layout, folder, stem + "-labels-idx1-ubyte");
  const Idx images = read_idx(layout, image_path, kImages);
  const Idx labels = read_idx(layout, label_path, kLabels);
  PARE_CHECK(images.sizes[0] == labels.sizes[0], layout.set, ": '", label_path, "' has ",
             labels.sizes[0], " labels, expected ", images.sizes[0], " as images in '", image_path,
             "'", hint(layout.hint));

  const int64_t count =
      options.limit > 0 ? std::min(options.limit, images.sizes[0]) : images.sizes[0];
  PixelSet set({images.sizes[1], images.sizes[2], 1}, class_names);
  set.pixels.assign(images.data(), images.data() + count * set.image.numel());
  for (int64_t i = 0; i < count; ++i) {
    check_label(layout, label_path, i, labels.data()[i], set.classes());
    set.labels.push_back(labels.data()[i]);
  }
  return set;
}

Layout idx_layout(const std::string& set, std::vector<std::string> folders) {
  Layout layout{set, std::move(folders), {}, ""};
  for (const char* name : {"train-images", "train-labels", "t10k-images", "t10k-labels"}) {
    const std::string kind = std::string(name).find("images") != std::string::npos ? "3" : "1";
    for (const char* form : {"-idx", ".idx"}) {
      layout.files.push_back(name + (form + kind) + "-ubyte");
      layout.files.push_back(layout.files.back() + ".gz");
    }
  }
  layout.hint =
      "the folder must hold train-images-idx3-ubyte, train-labels-idx1-ubyte, "
      "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each plain or .gz";
  return layout;
}

}  // namespace

PixelSet load_mnist(const LoadOptions& options) {
  return load_idx(idx_layout("mnist", {"mnist", "MNIST", "MNIST/raw"}),
                  {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}, options);
}

PixelSet load_fashion_mnist(const LoadOptions& options) {
  Layout layout =
      idx_layout("fashion-mnist", {"fashion-mnist", "FashionMNIST", "FashionMNIST/raw"});
  layout.hint += "; Debian's package dataset-fashion-mnist puts them under /usr/share/datasets";
  return load_idx(layout,
                  {"t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker",
                   "bag", "ankle boot"},
                  options);
}

}  // namespace pare::datasets
