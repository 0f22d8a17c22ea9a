#include "nn/nearest.h"

#include <algorithm>
#include <numeric>

namespace pare::nn {

// One row of the table at a time.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t changed = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j + 1] + 1, row[j] + 1, changed});
    }
  }
  return row.back();
}

std::string nearest(const std::string& word, const std::vector<std::string>& names) {
  std::string best;
  size_t fewest = std::max<size_t>(2, word.size() / 3) + 1;  // still a typing error
  for (const std::string& name : names) {
    const size_t n = edit_distance(word, name);
    if (n > 0 && n < fewest && n < name.size()) fewest = n, best = name;
  }
  return best;
}

}  // namespace pare::nn
