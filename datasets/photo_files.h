#pragma once
// Where the bytes of photographs come from: a folder for each class, or one packed file. Private
// to datasets.

#include <memory>
#include <string>
#include <vector>

#include "datasets/datasets.h"

namespace pare::datasets {

/// Files with labels, in order; only names and places are held in memory.
class PhotoFiles {
 public:
  virtual ~PhotoFiles() = default;
  int64_t count() const { return static_cast<int64_t>(labels.size()); }
  /// "n01440764/ILSVRC2012_val_00000293.JPEG"
  virtual std::string name(int64_t index) const = 0;
  /// All bytes. Throws Error with a reason.
  virtual std::vector<uint8_t> read(int64_t index) const = 0;

  std::vector<int32_t> labels;
  std::vector<std::string> class_names;
  std::vector<Unreadable> ignored;  // files in between that are no pictures by their names
};

/// The files of one split below `dir`: DIR/train.pack or DIR/val.pack, else DIR/train/CLASS/...,
/// DIR/val/CLASS/... Classes are those of DIR/classes.txt, one a line, if it is there; else the
/// folders of train/, or of val/ if there is no train/, by name.
std::unique_ptr<PhotoFiles> find_photos(const std::string& dir, Split split);

/// A file that pack() wrote.
std::unique_ptr<PhotoFiles> open_pack(const std::string& path);

/// "train" or "val"
const char* name_of(Split split);

}  // namespace pare::datasets
