#include "prune/select.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "nn/glob.h"
#include "prune/cells.h"

namespace pare::prune {

namespace {

/// A group that channels may be removed from.
struct Candidate {
  int group;
  int64_t full;                 // channels that it began with
  std::vector<int> order;       // units, the most important first
  std::optional<double> share;  // of its own
  int64_t multiple = 1, least = 1;

  int64_t size() const { return static_cast<int64_t>(order.size()); }
  int64_t gone() const { return full - size(); }
};

/// n * percent, rounded down; 10 * 0.3 is 3.
int64_t part(int64_t n, double percent) {
  constexpr double kRounding = 1e-9;
  return static_cast<int64_t>(std::floor(static_cast<double>(n) * percent + kRounding));
}

class Selector {
 public:
  Selector(const Structure& s, const Scores& scores, const PlanOptions& o)
      : s_(s), scores_(scores), o_(o), cost_(s), notes_(static_cast<size_t>(s.groups())) {
    const Structure& full = o.of ? *o.of : s;
    all_ = CostModel(full)(full.keep_all());
    all_.seconds = o.full_seconds;
  }

  void find_candidates() {
    const std::vector<BlockRule> rules = block_rules(s_);
    for (int g = 0; g < s_.groups(); ++g) {
      const nn::Channels::Group& group = s_.group(g);
      if (s_.name(g).empty() || !group.kept_because.empty()) continue;
      const BlockRule& rule = rules[static_cast<size_t>(g)];
      const std::optional<double> share = own_share(group);
      std::string& note = notes_[static_cast<size_t>(g)];
      note = !rule.obstacle.empty() ? "stays: " + rule.obstacle
             : share == 0.0         ? "stays: asked for"
             : !scores_.judged(g)   ? "stays: " + scores_.unjudged.at(g)
                                    : "";
      if (note.empty()) candidates_.push_back(candidate(g, share, rule));
    }
    PARE_CHECK(!candidates_.empty(), "prune: no layer can be pruned", hint(reasons()));
  }

  /// Ranks the channels of all candidates without a share of their own.
  void rank(bool comparable) {
    global_ = o_.spread == Spread::method ? comparable : o_.spread == Spread::global;
    for (size_t c = 0; c < candidates_.size(); ++c) {
      if (candidates_[c].share) continue;
      full_ += candidates_[c].full, gone_ += candidates_[c].gone();
      const double scale = comparable ? 1 : mean_score(candidates_[c]);
      for (int u : candidates_[c].order) ranked_.push_back({score(u) / scale, c});
    }
    std::stable_sort(ranked_.begin(), ranked_.end(),
                     [](const auto& a, const auto& b) { return a.score < b.score; });
  }

  /// How many units of each candidate stay if `removed` of all ranked ones go, those that went
  /// before included.
  std::vector<int64_t> widths(int64_t removed) const {
    std::vector<int64_t> kept;
    const auto total = static_cast<double>(std::max<int64_t>(full_, 1));
    for (const Candidate& c : candidates_) {
      const double share = c.share ? *c.share : global_ ? 0 : static_cast<double>(removed) / total;
      kept.push_back(std::min(c.size(), c.full - part(c.full, share)));
    }
    for (int64_t i = 0; global_ && i < removed - gone_; ++i) {
      --kept[ranked_[static_cast<size_t>(i)].owner];
    }
    for (size_t c = 0; c < candidates_.size(); ++c) kept[c] = legal(candidates_[c], kept[c]);
    return kept;
  }

  int64_t removed_for_percent() const { return std::max(gone_, part(full_, o_.percent)); }

  /// The fewest to remove for the targets.
  int64_t removed_for_targets() const {
    const auto reached = [&](int64_t removed) { return !missed(cost(best(widths(removed)))); };
    int64_t low = gone_, high = full_;
    if (!reached(high)) fail_target(cost(best(widths(high))));
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (reached(middle)) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return high;
  }

  /// The highest scores of each candidate.
  Keep best(const std::vector<int64_t>& kept) const {
    Keep keep = s_.keep_all();
    for (size_t c = 0; c < candidates_.size(); ++c) {
      const std::vector<int>& order = candidates_[c].order;
      for (auto i = static_cast<size_t>(kept[c]); i < order.size(); ++i) {
        keep[static_cast<size_t>(order[i])] = false;
      }
    }
    return keep;
  }

  /// The highest scores in each cell. Widths grow where a cell has fewer units than its place
  /// needs.
  Keep best_by_cell(std::vector<int64_t>& kept, const nn::Layer& model,
                    const Tensor& example) const {
    const std::vector<std::string> cell = cells(s_);
    for (;;) {
      std::map<std::string, int64_t> room = cell_sizes(model, example, s_, best(kept));
      Keep keep = s_.keep_all();
      bool fits_all = true;
      for (size_t c = 0; c < candidates_.size(); ++c) {
        int64_t taken = 0;
        for (int u : candidates_[c].order) {
          int64_t& left = room[cell[static_cast<size_t>(u)]];
          keep[static_cast<size_t>(u)] = left > 0;
          if (left > 0) --left, ++taken;
        }
        if (taken == kept[c]) continue;
        fits_all = false;
        kept[c] = std::min(candidates_[c].size(), kept[c] + candidates_[c].multiple);
      }
      if (fits_all) return keep;
    }
  }

  Plan plan(const std::string& method, const Keep& keep, const std::vector<int64_t>& kept,
            int64_t removed) const {
    Plan plan{.method = method, .layers = {}};
    std::vector<std::string> notes = notes_;
    const std::vector<int64_t> wanted = wanted_widths(removed);
    for (size_t c = 0; c < candidates_.size(); ++c) {
      if (kept[c] == wanted[c]) continue;
      notes[static_cast<size_t>(candidates_[c].group)] =
          str(wanted[c], " by score, ", reason(candidates_[c], wanted[c]));
    }
    for (int g = 0; g < s_.groups(); ++g) {
      if (s_.name(g).empty()) continue;
      const std::vector<int>& units = s_.group(g).units;
      Plan::Layer l{.name = s_.name(g), .channels = static_cast<int64_t>(units.size())};
      for (size_t i = 0; i < units.size(); ++i) {
        if (keep[static_cast<size_t>(units[i])]) l.keep.push_back(static_cast<int64_t>(i));
      }
      l.note = notes[static_cast<size_t>(g)];
      plan.layers.push_back(std::move(l));
    }
    Plan full = completed(plan, s_);
    full.before.seconds = o_.seconds ? o_.seconds(s_.keep_all()) : 0;
    full.after.seconds = o_.seconds ? o_.seconds(keep) : 0;
    return full;
  }

  bool has_blocks() const { return !s_.channels.blocks.empty(); }

 private:
  struct Ranked {
    double score;
    size_t owner;  // candidate
  };

  double score(int unit) const { return scores_.of[static_cast<size_t>(unit)]; }

  double mean_score(const Candidate& c) const {
    double sum = 0;
    for (int u : c.order) sum += score(u);
    return sum > 0 ? sum / static_cast<double>(c.size()) : 1;
  }

  /// What the options say about one of the group's layers.
  std::optional<double> own_share(const nn::Channels::Group& group) const {
    std::optional<double> share;
    for (const LayerShare& l : o_.layers) {
      const bool here = std::any_of(group.makers.begin(), group.makers.end(), [&](int maker) {
        return nn::glob(l.pattern, s_.graph[maker].name);
      });
      if (here) share = l.percent;
    }
    return share;
  }

  Candidate candidate(int g, std::optional<double> share, const BlockRule& rule) const {
    Candidate c{.group = g, .full = full_size(g), .order = s_.group(g).units, .share = share};
    std::stable_sort(c.order.begin(), c.order.end(),
                     [&](int a, int b) { return score(a) > score(b); });
    c.multiple = rule.multiple;
    c.least = std::max(o_.min_channels, rule.least);
    return c;
  }

  int64_t full_size(int g) const {
    const auto now = static_cast<int64_t>(s_.group(g).units.size());
    if (!o_.of) return now;
    const int before = o_.of->find(s_.name(g));
    const auto full =
        before < 0 ? int64_t{0} : static_cast<int64_t>(o_.of->group(before).units.size());
    PARE_CHECK(full >= now, "prune: the network before the first step is another one: it has ",
               full, " channels of ", s_.name(g), ", now there are ", now);
    return full;
  }

  /// The nearest number of channels that the options and the blocks allow.
  int64_t legal(const Candidate& c, int64_t kept) const {
    kept = std::min(std::max(kept, c.least), c.size());
    const int64_t both = std::lcm(o_.regular, c.multiple);
    const bool regular = o_.regular > 1 && kept > o_.regular && both <= c.size();
    const int64_t multiple = regular ? both : c.multiple;
    int64_t rounded = (kept + multiple / 2) / multiple * multiple;
    while (rounded < std::min(c.least, c.size())) rounded += multiple;
    return std::min(rounded, c.size());
  }

  std::vector<int64_t> wanted_widths(int64_t removed) const {
    Selector free = *this;
    free.o_.min_channels = free.o_.regular = 1;
    for (Candidate& c : free.candidates_) c.multiple = 1, c.least = 0;
    return free.widths(removed);
  }

  std::string reason(const Candidate& c, int64_t wanted) const {
    if (wanted < c.least) return str("at least ", c.least, " must stay");
    if (c.multiple > 1) return str("in groups: a multiple of ", std::lcm(c.multiple, o_.regular));
    return str("rounded to a multiple of ", o_.regular);
  }

  std::string reasons() const {
    for (int g = 0; g < s_.groups(); ++g) {
      const std::string& note = notes_[static_cast<size_t>(g)];
      if (!note.empty()) return s_.name(g) + " " + note;
    }
    return "no layer makes channels that may go";
  }

  Cost cost(const Keep& keep) const {
    Cost c = cost_(keep);
    if (o_.seconds) c.seconds = o_.seconds(keep);
    return c;
  }

  /// A share of one of the costs that may be left.
  struct Target {
    const char* what;
    std::optional<double> share;
    double Cost::*of;
  };
  std::vector<Target> targets() const {
    return {{"MACs", o_.macs, &Cost::macs},
            {"parameters", o_.params, &Cost::params},
            {"bytes", o_.bytes, &Cost::bytes},
            {"time", o_.latency, &Cost::seconds}};
  }
  /// The first target that this is too much for.
  std::optional<Target> missed(const Cost& left) const {
    for (const Target& t : targets()) {
      if (t.share && left.*t.of > *t.share * all_.*t.of) return t;
    }
    return {};
  }

  [[noreturn]] void fail_target(const Cost& least) const {
    const Target t = *missed(least);
    throw Error(
        str("prune: ", 100 * *t.share, " % of the ", t.what,
            " is out of reach: with the fewest channels ", 100 * (least.*t.of) / (all_.*t.of),
            " % are left", hint("ask for more, or for a smaller minimum of channels")),
        "select");
  }

  const Structure& s_;
  const Scores& scores_;
  PlanOptions o_;
  CostModel cost_;
  Cost all_;                        // that shares are of
  int64_t full_ = 0, gone_ = 0;     // ranked channels at first, and those that went before
  std::vector<std::string> notes_;  // by group
  std::vector<Candidate> candidates_;
  std::vector<Ranked> ranked_;  // ascending
  bool global_ = true;
};

}  // namespace

Plan select(const CriterionInfo& criterion, const Scores& scores, const Structure& structure,
            const nn::Layer& model, const Tensor& example, const PlanOptions& options) {
  check(options, structure);
  Selector selector(structure, scores, options);
  selector.find_candidates();
  selector.rank(criterion.comparable);
  const bool targets = options.macs || options.params || options.bytes || options.latency;
  const int64_t removed = targets ? selector.removed_for_targets() : selector.removed_for_percent();
  std::vector<int64_t> kept = selector.widths(removed);
  const Keep keep =
      selector.has_blocks() ? selector.best_by_cell(kept, model, example) : selector.best(kept);
  return selector.plan(criterion.name, keep, kept, removed);
}

}  // namespace pare::prune
