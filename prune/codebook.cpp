#include "prune/codebook.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace pare::prune {

namespace {

constexpr int kRounds = 100;

/// Of ascending centroids, the one nearest to each of ascending values.
std::vector<uint32_t> nearest(const std::vector<float>& values,
                              const std::vector<float>& centroids) {
  std::vector<uint32_t> codes;
  uint32_t at = 0;
  for (float v : values) {
    const auto gap = [&](uint32_t c) { return std::abs(double{v} - centroids[c]); };
    while (at + 1 < centroids.size() && gap(at + 1) < gap(at)) ++at;
    codes.push_back(at);
  }
  return codes;
}

/// Means of what each centroid stands for; those that stand for nothing go.
std::vector<float> means(const std::vector<float>& values, const std::vector<uint32_t>& codes,
                         size_t count) {
  std::vector<double> sums(count);
  std::vector<int64_t> members(count);
  for (size_t i = 0; i < values.size(); ++i) sums[codes[i]] += values[i], ++members[codes[i]];
  std::vector<float> all;
  for (size_t c = 0; c < count; ++c) {
    if (members[c] > 0) all.push_back(static_cast<float>(sums[c] / double(members[c])));
  }
  return all;
}

std::vector<float> spread(float low, float high, size_t count) {
  std::vector<float> all;
  for (size_t i = 0; i < count; ++i) {
    const double t = count > 1 ? static_cast<double>(i) / static_cast<double>(count - 1) : 0.5;
    all.push_back(static_cast<float>(low + (double{high} - low) * t));
  }
  return all;
}

}  // namespace

Codebook share_values(std::span<const float> values, int bits) {
  PARE_CHECK(bits >= 1 && bits <= 12, "codebook: bits must be in 1..12, got ", bits);
  if (values.empty()) return {};
  std::vector<float> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  std::vector<float> centroids = sorted;
  centroids.erase(std::unique(centroids.begin(), centroids.end()), centroids.end());
  const auto most = size_t{1} << bits;
  if (centroids.size() > most) {
    centroids = spread(sorted.front(), sorted.back(), most);
    for (int round = 0; round < kRounds; ++round) {
      std::vector<float> next = means(sorted, nearest(sorted, centroids), centroids.size());
      if (next == centroids) break;
      centroids = std::move(next);
    }
  }
  Codebook book{std::move(centroids), {}};
  // By halves of the gaps, so that any order of values gives what the sorted one does.
  for (float v : values) {
    const auto above = std::lower_bound(book.centroids.begin(), book.centroids.end(), v);
    auto code = static_cast<size_t>(above - book.centroids.begin());
    const bool last = code == book.centroids.size();
    if (code > 0 &&
        (last || double{v} - book.centroids[code - 1] <= double{book.centroids[code]} - v)) {
      --code;
    }
    book.codes.push_back(static_cast<uint32_t>(code));
  }
  return book;
}

}  // namespace pare::prune
