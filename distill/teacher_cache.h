#pragma once
// The teacher's logits on disk, by what it was shown. Each image is known by a hash of its values,
// so whatever changes them (augmentation, normalization, another data set) is another image, and an
// answer is never taken for a wrong one.

#include <string>
#include <unordered_map>
#include <vector>

#include "nn/module.h"

namespace pare::distill {

/// What a cache is about; all of it must agree with the file.
struct CacheKey {
  std::string teacher, dataset, normalize;  // teacher: weights_hash()
  bool operator==(const CacheKey&) const = default;
};

/// 64 bits of all names and values, as hexadecimal digits.
std::string weights_hash(const nn::Layer& model);

class TeacherCache {
 public:
  /// Reads the file if there is one; throws if it is about something else. Without `writes` it is
  /// never written.
  TeacherCache(std::string path, CacheKey key, bool writes = true);

  /// [N, classes], or nothing if one of the images [N, ...] is not known.
  Tensor find(const Tensor& images) const;
  /// Keeps logits [N, classes]. Writes the file whenever it would have grown to the double.
  void add(const Tensor& images, const Tensor& logits);
  /// Writes the file, to another name first, if there is something new.
  void save();
  int64_t size() const { return static_cast<int64_t>(rows_.size()); }
  const std::string& path() const { return path_; }

 private:
  void read();

  std::string path_;
  CacheKey key_;
  bool writes_;
  int64_t classes_ = 0, saved_ = 0;
  std::unordered_map<uint64_t, size_t> rows_;  // of values_, by image
  std::vector<float> values_;
};

}  // namespace pare::distill
