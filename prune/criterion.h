#pragma once
// How much channels matter, by name. A new criterion is a file: prune/criteria/NAME.cpp defines
// `CriterionInfo pare::prune::parts::NAME()`, and is found because it is there (CMakeLists.txt). A
// program adds its own with add_criterion(). docs/add_a_criterion.md grows one.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/batch.h"
#include "core/rng.h"
#include "prune/structure.h"

namespace pare::prune {

/// Larger scores stay longer.
struct Scores {
  std::vector<double> of;               // by unit
  std::map<int, std::string> unjudged;  // groups that have none, and why

  bool judged(int group) const { return unjudged.count(group) == 0; }
};

/// Collects what the layers that hold a unit say about it. A unit's score is the mean.
class ScoreMean {
 public:
  explicit ScoreMean(const Structure& structure);
  void add(int unit, double value);
  /// Groups of which some unit was never added are not judged, because of `reason`.
  Scores scores(const std::string& reason) const;

 private:
  const Structure& structure_;
  std::vector<double> sums_;
  std::vector<int64_t> counts_;
};

/// What a criterion may look at.
struct Subject {
  nn::Layer& model;  // left as it is
  const Structure& structure;
  Rng& rng;
  BatchSource* images = nullptr;  // with labels; read from its first epoch's start
  int64_t count = 256;            // how many of them
};

struct CriterionInfo {
  std::string name, summary;
  bool needs_images = false;
  /// Scores of different layers are of one kind. Others are divided by their group's mean before
  /// groups are compared.
  bool comparable = false;
  std::function<Scores(const Subject&)> score = {};
};

/// Sorted by name. Adding a name that is taken is an error.
const std::vector<CriterionInfo>& criteria();
void add_criterion(CriterionInfo info);
/// Unknown names list the known ones.
const CriterionInfo& find_criterion(const std::string& name);
std::vector<std::string> criterion_names();

/// The criterion's scores; throws if one is not a finite number.
Scores score(const CriterionInfo& criterion, const Subject& subject);

}  // namespace pare::prune
