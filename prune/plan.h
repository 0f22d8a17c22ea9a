#pragma once
// Which channels of which layers stay: made from scores, printed, saved, loaded, checked against a
// model, and applied.

#include <iosfwd>
#include <string>
#include <vector>

#include "prune/cost.h"

namespace pare::prune {

struct Plan {
  /// The channels that some layers make together.
  struct Layer {
    std::string name;                // Structure::names
    int64_t channels = 0;            // of the model as it is
    std::vector<int64_t> keep = {};  // ascending, from 0 to below channels
    std::string tied = {};           // the other layers that make them
    std::string note = {};           // why not more of them were removed

    int64_t kept() const { return static_cast<int64_t>(keep.size()); }
  };
  std::string method;  // the criterion's name, for people
  std::vector<Layer> layers;
  Cost before = {}, after = {};

  int64_t channels() const;
  int64_t kept() const;
};

/// An aligned table with totals.
std::ostream& operator<<(std::ostream& out, const Plan& plan);
/// The plan without what the model says: `layer1.0.conv1: {channels: 16, keep: [0-3, 7]}`.
std::string to_yaml(const Plan& plan);
Plan load_plan(const std::string& path);
/// `name` stands for the file in messages.
Plan parse_plan(const std::string& yaml, const std::string& name);

/// The units that stay. Throws if the plan is of another model, empties a layer or removes what
/// must stay. Layers that the plan does not name stay whole.
Keep keep_of(const Plan& plan, const Structure& structure);
/// The plan with every layer of the model, ties and costs filled in.
Plan completed(const Plan& plan, const Structure& structure);

}  // namespace pare::prune
