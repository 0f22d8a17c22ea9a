#include "nn/schedule.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace pare::nn {

namespace {

/// From `from` at t = 0 along half a cosine to `to` at t = 1.
double cosine_between(double from, double to, double t) {
  return to + (from - to) * (1 + std::cos(std::numbers::pi * std::clamp(t, 0.0, 1.0))) / 2;
}

}  // namespace

Schedule constant(float lr) {
  return [lr](double, double) { return lr; };
}

Schedule multistep(float lr, std::vector<double> milestones, float gamma) {
  PARE_CHECK(std::is_sorted(milestones.begin(), milestones.end()),
             "multistep: the milestones must rise");
  return [lr, milestones = std::move(milestones), gamma](double epoch, double) {
    const auto passed = std::upper_bound(milestones.begin(), milestones.end(), epoch);
    return static_cast<float>(lr * std::pow(double{gamma}, passed - milestones.begin()));
  };
}

Schedule cosine(float lr, float lr_end) {
  return [lr, lr_end](double epoch, double epochs) {
    return static_cast<float>(cosine_between(lr, lr_end, epoch / epochs));
  };
}

Schedule one_cycle(float lr, float rise, float div, float final_div) {
  PARE_CHECK(rise > 0 && rise < 1, "one_cycle: the rise must be between 0 and 1, got ", rise);
  PARE_CHECK(div >= 1 && final_div >= 1, "one_cycle: the divisors must be at least 1, got ", div,
             " and ", final_div);
  return [=](double epoch, double epochs) {
    const double t = epoch / epochs, start = lr / div, end = lr / final_div;
    if (t < rise) return static_cast<float>(start + (lr - start) * t / rise);
    return static_cast<float>(cosine_between(lr, end, (t - rise) / (1 - rise)));
  };
}

Schedule warmup(double epochs, Schedule after) {
  PARE_CHECK(epochs > 0, "warmup: needs a positive number of epochs, got ", epochs);
  return [warm = epochs, after = std::move(after)](double epoch, double total) {
    return static_cast<float>(after(epoch, total) * std::min(1.0, epoch / warm));
  };
}

namespace {

[[noreturn]] void reject(const std::string& text, const std::string& why) {
  throw Error(str("schedule '", text, "': ", why,
                  hint("constant, cosine, one-cycle, multistep:80,130 or multistep:80,130:0.2 "
                       "(factor per milestone), each also as warmup:5+... (epochs)")),
              "parse_schedule");
}

double parse_positive(const std::string& text, const std::string& word) {
  double value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size() || !(value > 0) ||
      !std::isfinite(value)) {
    reject(text, str("'", word, "' is not a positive number"));
  }
  return value;
}

std::vector<double> parse_milestones(const std::string& text, const std::string& list) {
  std::vector<double> milestones;
  for (size_t at = 0; at <= list.size();) {
    const size_t comma = std::min(list.find(',', at), list.size());
    milestones.push_back(parse_positive(text, list.substr(at, comma - at)));
    at = comma + 1;
  }
  if (std::adjacent_find(milestones.begin(), milestones.end(), std::greater_equal<>()) !=
      milestones.end()) {
    reject(text, "the milestones must rise");
  }
  return milestones;
}

Schedule parse(const std::string& text, const std::string& rest, float lr) {
  if (rest == "constant") return constant(lr);
  if (rest == "cosine") return cosine(lr);
  if (rest == "one-cycle") return one_cycle(lr);
  const size_t colon = rest.find(':');
  const std::string head = rest.substr(0, colon);
  if (colon == std::string::npos || (head != "multistep" && head != "warmup")) {
    reject(text, "is not one of the known forms");
  }
  const std::string tail = rest.substr(colon + 1);
  if (head == "warmup") {
    const size_t plus = tail.find('+');
    if (plus == std::string::npos) reject(text, "warmup needs a schedule behind a '+'");
    const double epochs = parse_positive(text, tail.substr(0, plus));
    return warmup(epochs, parse(text, tail.substr(plus + 1), lr));
  }
  const size_t second = tail.find(':');
  const std::vector<double> milestones = parse_milestones(text, tail.substr(0, second));
  if (second == std::string::npos) return multistep(lr, milestones);
  return multistep(lr, milestones,
                   static_cast<float>(parse_positive(text, tail.substr(second + 1))));
}

}  // namespace

Schedule parse_schedule(const std::string& text, float lr) { return parse(text, text, lr); }

}  // namespace pare::nn
