#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>

#include "core/error.h"
#include "core/files.h"
#include "datasets/files.h"
#include "datasets/photo_files.h"

namespace pare::datasets {

namespace fs = std::filesystem;

namespace {

const Layout& layout() {
  static const Layout all{
      "imagenet",
      {"imagenet", "imagenette", "imagenet-samples", "imagenette128"},
      {"train", "val", "train.pack", "val.pack"},
      "the folder must hold train/ and val/, with a folder of JPEG or PNG files "
      "for each class, or what `pare data pack` made of it"};
  return all;
}

bool is_photo_name(const fs::path& path) {
  std::string end = path.extension().string();
  std::transform(end.begin(), end.end(), end.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return end == ".jpg" || end == ".jpeg" || end == ".png";
}

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

/// Folders in `dir`, by name.
std::vector<std::string> folders_in(const fs::path& dir) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(dir)) {
    if (entry.is_directory() && !is_hidden(entry)) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> read_classes(const fs::path& path) {
  std::ifstream in(path);
  std::vector<std::string> names;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) names.push_back(line);
  }
  return names;
}

std::vector<std::string> classes_of(const fs::path& dir) {
  if (fs::exists(dir / "classes.txt")) return read_classes(dir / "classes.txt");
  return folders_in(fs::is_directory(dir / "train") ? dir / "train" : dir / "val");
}

class Folder final : public PhotoFiles {
 public:
  Folder(const fs::path& dir, Split split) : root_(dir / name_of(split)) {
    PARE_CHECK(fs::is_directory(root_), "imagenet: there is no folder '", root_.string(), "'",
               hint(layout().hint));
    class_names = classes_of(dir);
    std::map<std::string, int32_t> index;
    for (const std::string& name : class_names) {
      index.emplace(name, static_cast<int32_t>(index.size()));
    }
    for (const std::string& folder : folders_in(root_)) {
      const auto found = index.find(folder);
      PARE_CHECK(found != index.end(), "imagenet: '", (root_ / folder).string(),
                 "' is none of the ", class_names.size(), " classes",
                 hint("they are the folders of train/, or the lines of classes.txt"));
      add(folder, found->second);
    }
    PARE_CHECK(count() > 0, "imagenet: there is no JPEG or PNG file in the folders of '",
               root_.string(), "'", hint(layout().hint));
  }

  std::string name(int64_t index) const override {
    const auto i = static_cast<size_t>(index);
    return names_.substr(begins_[i], begins_[i + 1] - begins_[i]);
  }

  std::vector<uint8_t> read(int64_t index) const override {
    const std::string bytes = read_file((root_ / name(index)).string());
    return {bytes.begin(), bytes.end()};
  }

 private:
  void add(const std::string& folder, int32_t label) {
    std::vector<std::string> found;
    const auto follow = fs::directory_options::follow_directory_symlink;
    for (const fs::directory_entry& entry :
         fs::recursive_directory_iterator(root_ / folder, follow)) {
      if (!entry.is_regular_file() || is_hidden(entry)) continue;
      const std::string name = entry.path().lexically_relative(root_).string();
      if (is_photo_name(entry)) {
        found.push_back(name);
      } else {
        ignored.push_back({entry.path().string(), "not called .jpg, .jpeg or .png"});
      }
    }
    std::sort(found.begin(), found.end());
    for (const std::string& name : found) {
      names_ += name;
      begins_.push_back(names_.size());
      labels.push_back(label);
    }
  }

  fs::path root_;
  std::string names_;  // one behind the other: a million small strings would take twice the memory
  std::vector<size_t> begins_ = {0};
};

}  // namespace

const char* name_of(Split split) { return split == Split::train ? "train" : "val"; }

bool is_photo_folder(const std::string& dir) {
  std::error_code ignored;
  return std::any_of(layout().files.begin(), layout().files.end(),
                     [&](const auto& f) { return fs::exists(fs::path(dir) / f, ignored); });
}

bool has_split(const std::string& dir, Split split) {
  const fs::path at = fs::path(find_folder(layout(), dir)) / name_of(split);
  return fs::is_directory(at) || fs::exists(at.string() + ".pack");
}

std::unique_ptr<PhotoFiles> find_photos(const std::string& dir, Split split) {
  const fs::path folder = find_folder(layout(), dir);
  const fs::path pack = folder / (std::string(name_of(split)) + ".pack");
  if (fs::exists(pack)) return open_pack(pack.string());
  return std::make_unique<Folder>(folder, split);
}

}  // namespace pare::datasets
