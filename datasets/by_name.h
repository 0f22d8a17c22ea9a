#pragma once
// Tables with a `name` column. Private to datasets.

#include <algorithm>
#include <string>
#include <vector>

#include "core/error.h"

namespace pare::datasets {

template <class Table>
std::vector<std::string> names_of(const Table& table) {
  std::vector<std::string> names;
  for (const auto& row : table) names.emplace_back(row.name);
  return names;
}

/// The row called `name`; `what` starts the message that lists the others.
template <class Table>
const auto& find_by_name(const Table& table, const char* what, const std::string& name) {
  const auto row = std::find_if(std::begin(table), std::end(table),
                                [&](const auto& r) { return name == r.name; });
  std::string known;
  for (const std::string& n : names_of(table)) known += (known.empty() ? "" : ", ") + n;
  PARE_CHECK(row != std::end(table), what, ": there is no '", name, "', expected one of ", known);
  return *row;
}

}  // namespace pare::datasets
