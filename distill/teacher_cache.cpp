#include "distill/teacher_cache.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <filesystem>

#include "core/error.h"
#include "core/safetensors.h"
#include "nn/state.h"

namespace pare::distill {

namespace {

constexpr const char *kHashes = "hashes", *kLogits = "logits";

/// SplitMix64's finish over a running sum: every bit of a value reaches every bit of the hash.
uint64_t mix(uint64_t hash, uint64_t value) {
  uint64_t z = (hash ^ value) + 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint64_t hash_of(std::span<const float> values) {
  uint64_t hash = values.size();
  for (const float v : values) hash = mix(hash, std::bit_cast<uint32_t>(v));
  return hash;
}

/// One hash for each image.
std::vector<uint64_t> hashes_of(const Tensor& images) {
  const auto n = static_cast<size_t>(images.dim(0)), size = static_cast<size_t>(images.numel()) / n;
  std::vector<uint64_t> hashes;
  for (size_t i = 0; i < n; ++i) hashes.push_back(hash_of(images.span().subspan(i * size, size)));
  return hashes;
}

}  // namespace

std::string weights_hash(const nn::Layer& model) {
  uint64_t hash = 0;
  for (const auto& [name, tensor] : nn::state_dict(model)) {
    for (const char c : name) hash = mix(hash, static_cast<uint8_t>(c));
    hash = mix(hash, hash_of(tensor.span()));
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

TeacherCache::TeacherCache(std::string path, CacheKey key, bool writes)
    : path_(std::move(path)), key_(std::move(key)), writes_(writes) {
  namespace fs = std::filesystem;
  PARE_CHECK(!fs::is_directory(path_), path_, ": is a folder, expected a file");
  const fs::path folder = fs::path(path_).parent_path();
  PARE_CHECK(folder.empty() || fs::is_directory(folder), path_, ": there is no folder ", folder);
  if (fs::exists(path_)) read();
}

void TeacherCache::read() {
  const safetensors::File file = safetensors::read(path_);
  const auto says = [&](const char* name) {
    const auto it = file.metadata.find(name);
    return it == file.metadata.end() ? std::string("nothing") : it->second;
  };
  PARE_CHECK(file.has(kHashes) && file.has(kLogits), path_, ": holds no teacher's answers",
             hint("--cache names a file of its own"));
  const CacheKey found{says("teacher"), says("dataset"), says("normalize")};
  PARE_CHECK(found == key_, path_, ": is about teacher ", found.teacher, ", ", found.dataset,
             " normalized as ", found.normalize, "; this is teacher ", key_.teacher, ", ",
             key_.dataset, " normalized as ", key_.normalize,
             hint("name another file, or remove this one"));
  const std::vector<int64_t> hashes = file.at(kHashes).integers();
  const Tensor logits = file.at(kLogits).tensor();
  PARE_CHECK(logits.dims() == 2 && logits.dim(0) == static_cast<int64_t>(hashes.size()), path_,
             ": has ", hashes.size(), " images and logits ", logits.shape());
  classes_ = logits.dim(1);
  values_.assign(logits.span().begin(), logits.span().end());
  for (size_t i = 0; i < hashes.size(); ++i) rows_[std::bit_cast<uint64_t>(hashes[i])] = i;
  saved_ = size();
}

Tensor TeacherCache::find(const Tensor& images) const {
  std::vector<size_t> rows;
  for (const uint64_t hash : hashes_of(images)) {
    const auto it = rows_.find(hash);
    if (it == rows_.end()) return {};
    rows.push_back(it->second);
  }
  Tensor logits = Tensor::uninit({images.dim(0), classes_});
  float* to = logits.data();
  const auto classes = static_cast<size_t>(classes_);
  for (const size_t row : rows) to = std::copy_n(values_.data() + row * classes, classes, to);
  return logits;
}

void TeacherCache::add(const Tensor& images, const Tensor& logits) {
  PARE_CHECK(classes_ == 0 || classes_ == logits.dim(1), path_, ": has logits of ", classes_,
             " classes, got ", logits.dim(1));
  classes_ = logits.dim(1);
  const auto classes = static_cast<size_t>(classes_);
  const std::vector<uint64_t> hashes = hashes_of(images);
  for (size_t i = 0; i < hashes.size(); ++i) {
    if (!rows_.try_emplace(hashes[i], rows_.size()).second) continue;
    const std::span<const float> row = logits.span().subspan(i * classes, classes);
    values_.insert(values_.end(), row.begin(), row.end());
  }
  constexpr int64_t kLeast = 4096;
  if (size() - saved_ > std::max(saved_, kLeast)) save();
}

void TeacherCache::save() {
  if (!writes_ || size() == saved_) return;
  std::vector<int64_t> hashes(rows_.size());
  for (const auto& [hash, row] : rows_) hashes[row] = std::bit_cast<int64_t>(hash);
  safetensors::File file;
  file.metadata = {
      {"teacher", key_.teacher}, {"dataset", key_.dataset}, {"normalize", key_.normalize}};
  file.entries[kHashes] = safetensors::Entry::of(hashes, {size()});
  file.entries[kLogits] = safetensors::Entry::of(Tensor::of(values_, {size(), classes_}));
  safetensors::write(path_, file);
  saved_ = size();
}

}  // namespace pare::distill
