#include "prune/criterion.h"

#include <algorithm>
#include <cmath>

#include "nn/nearest.h"

namespace pare::prune {

// The files of prune/criteria, one PARE_CRITERION(name) each; written by CMake.
namespace parts {
#define PARE_CRITERION(name) CriterionInfo name();
#include "prune_parts.inc"
#undef PARE_CRITERION
}  // namespace parts

namespace {

void insert(std::vector<CriterionInfo>& all, CriterionInfo info) {
  PARE_CHECK(!info.name.empty() && info.score, "prune: a criterion needs a name and score()");
  const auto at = std::lower_bound(all.begin(), all.end(), info,
                                   [](const auto& a, const auto& b) { return a.name < b.name; });
  PARE_CHECK(at == all.end() || at->name != info.name, "prune: there is a criterion called ",
             info.name, " already");
  all.insert(at, std::move(info));
}

std::vector<CriterionInfo>& registry() {
  static std::vector<CriterionInfo> all = [] {
    std::vector<CriterionInfo> list;
#define PARE_CRITERION(name) insert(list, parts::name());
#include "prune_parts.inc"
#undef PARE_CRITERION
    return list;
  }();
  return all;
}

}  // namespace

ScoreMean::ScoreMean(const Structure& structure)
    : structure_(structure),
      sums_(static_cast<size_t>(structure.channels.units)),
      counts_(sums_.size()) {}

void ScoreMean::add(int unit, double value) {
  sums_[static_cast<size_t>(unit)] += value;
  ++counts_[static_cast<size_t>(unit)];
}

Scores ScoreMean::scores(const std::string& reason) const {
  Scores s{.of = std::vector<double>(sums_.size()), .unjudged = {}};
  for (size_t u = 0; u < sums_.size(); ++u) {
    if (counts_[u] > 0) {
      s.of[u] = sums_[u] / static_cast<double>(counts_[u]);
    } else {
      s.unjudged.emplace(structure_.group_of(static_cast<int>(u)), reason);
    }
  }
  return s;
}

const std::vector<CriterionInfo>& criteria() { return registry(); }
void add_criterion(CriterionInfo info) { insert(registry(), std::move(info)); }

std::vector<std::string> criterion_names() {
  std::vector<std::string> names;
  for (const CriterionInfo& c : criteria()) names.push_back(c.name);
  return names;
}

const CriterionInfo& find_criterion(const std::string& name) {
  std::string known;
  for (const CriterionInfo& c : criteria()) {
    if (c.name == name) return c;
    known += (known.empty() ? "" : ", ") + c.name;
  }
  const std::string near = nn::nearest(name, criterion_names());
  throw Error(str("prune: there is no criterion '", name, "'",
                  near.empty() ? "" : ". Did you mean " + near + "?", hint("known are " + known)),
              "find_criterion");
}

Scores score(const CriterionInfo& criterion, const Subject& subject) {
  PARE_CHECK(!criterion.needs_images || subject.images, "prune: ", criterion.name,
             " needs images to look at");
  PARE_CHECK(!criterion.needs_images || subject.count > 0, "prune: ", criterion.name,
             " needs at least one image, got ", subject.count);
  const Scores s = criterion.score(subject);
  for (size_t u = 0; u < s.of.size(); ++u) {
    const int group = subject.structure.group_of(static_cast<int>(u));
    PARE_CHECK(!s.judged(group) || std::isfinite(s.of[u]), "prune: ", criterion.name,
               ": a channel of ", subject.structure.name(group), " has the score ", s.of[u],
               hint("are there weights that are not finite?"));
  }
  return s;
}

}  // namespace pare::prune
