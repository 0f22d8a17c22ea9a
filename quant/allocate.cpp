#include "quant/allocate.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace pare::quant {

namespace {

using Layers = std::vector<std::vector<Choice>>;

constexpr double kInfinite = std::numeric_limits<double>::infinity();

Chosen chosen(const Layers& layers, std::vector<size_t> index) {
  Chosen c{.index = std::move(index)};
  for (size_t l = 0; l < layers.size(); ++l) {
    c.loss += layers[l][c.index[l]].loss;
    c.cost += layers[l][c.index[l]].cost;
  }
  return c;
}

template <class Key>
size_t least(const std::vector<Choice>& choices, Key&& key) {
  const auto less = [&](const Choice& a, const Choice& b) { return key(a) < key(b); };
  return static_cast<size_t>(std::min_element(choices.begin(), choices.end(), less) -
                             choices.begin());
}

/// What makes a solution possible: finite losses, and a budget that allows the cheapest choices.
void check(const Layers& layers, int64_t budget) {
  std::vector<size_t> index;
  for (const auto& choices : layers) {
    PARE_CHECK(!choices.empty(), "allocate: a layer has no choice");
    for (const Choice& c : choices) {
      PARE_CHECK(std::isfinite(c.loss), "allocate: a loss is ", c.loss);
    }
    index.push_back(least(choices, [](const Choice& c) { return c.cost; }));
  }
  const int64_t least_cost = chosen(layers, std::move(index)).cost;
  PARE_CHECK(least_cost <= budget, "allocate: the budget is ", budget,
             ", the least that is possible ", least_cost);
}

/// The best at this price: min over each layer of loss + price cost.
Chosen at_price(const Layers& layers, double price) {
  std::vector<size_t> index;
  for (const auto& choices : layers) {
    index.push_back(least(choices, [price](const Choice& c) {
      return c.loss + price * static_cast<double>(c.cost);
    }));
  }
  return chosen(layers, std::move(index));
}

/// The lowest price found at which the budget is kept.
double price_of(const Layers& layers, int64_t budget) {
  if (at_price(layers, 0).cost <= budget) return 0;
  double low = 0, high = 1e-12;
  while (at_price(layers, high).cost > budget && high < 1e30) low = high, high *= 4;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (at_price(layers, middle).cost > budget ? low : high) = middle;
  }
  return high;
}

/// A sum over the first layers.
struct Sum {
  int64_t cost;
  double loss;
  size_t before, choice;  // the sum it came from, and what was added
};

/// Those that no other sum beats, in ascending order of cost.
void keep_best(std::vector<Sum>& sums) {
  std::sort(sums.begin(), sums.end(), [](const Sum& a, const Sum& b) {
    return a.cost != b.cost ? a.cost < b.cost : a.loss < b.loss;
  });
  double best = kInfinite;
  std::erase_if(sums, [&](const Sum& s) {
    const bool beaten = !(s.loss < best);
    best = std::min(best, s.loss);
    return beaten;
  });
}

class Search {
 public:
  Search(const Layers& layers, int64_t budget) : layers_(layers), budget_(budget) {
    price_ = price_of(layers, budget);
    const Chosen greedy = choose_greedily(layers, budget), priced = at_price(layers, price_);
    best_ = priced.cost <= budget && priced.loss < greedy.loss ? priced : greedy;
    least_cost_.assign(layers.size() + 1, 0);
    bound_.assign(layers.size() + 1, 0.0);
    for (size_t l = layers.size(); l-- > 0;) {
      const auto& c = layers[l];
      least_cost_[l] =
          least_cost_[l + 1] + c[least(c, [](const Choice& x) { return x.cost; })].cost;
      bound_[l] = bound_[l + 1] +
                  priced_loss(c[least(c, [this](const Choice& x) { return priced_loss(x); })]);
    }
  }

  Chosen run() {
    std::vector<std::vector<Sum>> levels{{{0, 0.0, 0, 0}}};
    for (size_t l = 0; l < layers_.size(); ++l) levels.push_back(extend(levels.back(), l));
    const auto& last = levels.back();
    const auto end = std::min_element(last.begin(), last.end(),
                                      [](const Sum& a, const Sum& b) { return a.loss < b.loss; });
    if (end == last.end() || !(end->loss < best_.loss)) return best_;
    std::vector<size_t> index(layers_.size());
    size_t at = static_cast<size_t>(end - last.begin());
    for (size_t l = layers_.size(); l-- > 0;) {
      index[l] = levels[l + 1][at].choice;
      at = levels[l + 1][at].before;
    }
    return chosen(layers_, std::move(index));
  }

 private:
  double priced_loss(const Choice& c) const {
    return c.loss + price_ * static_cast<double>(c.cost);
  }

  std::vector<Sum> extend(const std::vector<Sum>& sums, size_t l) const {
    // What rounding may add to the bound: it must not cut off the best.
    const double slack = 1e-9 * (1 + std::fabs(best_.loss));
    std::vector<Sum> next;
    for (size_t s = 0; s < sums.size(); ++s) {
      for (size_t k = 0; k < layers_[l].size(); ++k) {
        const Choice& c = layers_[l][k];
        const Sum sum{sums[s].cost + c.cost, sums[s].loss + c.loss, s, k};
        if (sum.cost + least_cost_[l + 1] > budget_) continue;
        // sum loss >= sum (loss + price cost) - price budget, for all that keeps the budget
        const double at_least =
            sum.loss + bound_[l + 1] - price_ * static_cast<double>(budget_ - sum.cost);
        if (at_least > best_.loss + slack) continue;
        next.push_back(sum);
      }
    }
    keep_best(next);
    return next;
  }

  const Layers& layers_;
  int64_t budget_;
  double price_ = 0;
  Chosen best_;
  std::vector<int64_t> least_cost_;  // of the layers from here on
  std::vector<double> bound_;        // likewise: the least loss + price cost
};

}  // namespace

Chosen choose_greedily(const Layers& layers, int64_t budget) {
  check(layers, budget);
  Chosen c = at_price(layers, 0);
  while (c.cost > budget) {
    double best = kInfinite;
    size_t layer = 0, choice = 0;
    for (size_t l = 0; l < layers.size(); ++l) {
      const Choice& now = layers[l][c.index[l]];
      for (size_t k = 0; k < layers[l].size(); ++k) {
        const Choice& other = layers[l][k];
        if (other.cost >= now.cost) continue;
        const double rate = (other.loss - now.loss) / static_cast<double>(now.cost - other.cost);
        if (rate < best) best = rate, layer = l, choice = k;
      }
    }
    std::vector<size_t> index = c.index;
    index[layer] = choice;
    c = chosen(layers, std::move(index));
  }
  return c;
}

Chosen choose(const Layers& layers, int64_t budget) {
  check(layers, budget);
  return Search(layers, budget).run();
}

}  // namespace pare::quant
