#include "quant/profile.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <unordered_map>

#include "core/autograd.h"
#include "nn/text.h"
#include "quant/attach.h"
#include "quant/placement.h"
#include "quant/quantizer.h"

namespace pare::quant {

namespace {

using Mode = Quantizer::Mode;

struct Sums {
  double wanted = 0, got = 0, both = 0, error = 0, metric = 0;  // sums of squares and products
  int64_t values = 0, batches = 0;

  void add(const Tensor& y, const Tensor& q, const ProfileOptions& options) {
    PARE_CHECK(y.shape() == q.shape(), "profile: a layer gave ", y.shape(), " and, quantized, ",
               q.shape());
    const float *a = y.data(), *b = q.data();
    for (int64_t i = 0; i < y.numel(); ++i) {
      const double w = a[i], g = b[i], d = g - w;
      wanted += w * w, got += g * g, both += w * g, error += d * d;
    }
    values += y.numel();
    ++batches;
    if (options.metric) metric += options.metric(y, q);
  }

  ValueError result() const {
    ValueError e;
    e.mse = error / static_cast<double>(values);
    const double norms = std::sqrt(wanted) * std::sqrt(got);
    e.cosine = norms > 0 ? both / norms : wanted == got ? 1 : 0;
    e.sqnr = error > 0    ? 10 * std::log10(wanted / error)
             : wanted > 0 ? std::numeric_limits<double>::infinity()
                          : 0;
    return e;
  }
};

/// A module that holds quantizers, and what it is called.
struct Unit {
  Profile::Row row;
  std::vector<Quantizer*> quantizers;
  Sums alone, cumulative;
};

/// A quantizer that can be switched off: without the others a network is another one.
Quantizer* switchable(const nn::Layer& part, bool weight) {
  auto* q = part.as<Quantizer>();
  return q && (weight || q->wants_calibration()) ? q : nullptr;
}

class Profiler final : public nn::ForwardObserver {
 public:
  Profiler(nn::Layer& model, const ProfileOptions& options) : model_(model), options_(options) {
    for (const LayerInfo& info : layers(model)) {
      const nn::Module* module =
          info.conv ? static_cast<const nn::Module*>(info.conv) : info.linear;
      const nn::Layer& weight = info.conv ? info.conv->weight_fn : info.linear->weight_fn;
      const nn::Layer& input = info.conv ? info.conv->input_fn : info.linear->input_fn;
      add(module,
          {.path = info.path,
           .layer = module->describe(),
           .weight = name_of(weight),
           .input = name_of(input)},
          {switchable(weight, true), switchable(input, false)});
    }
    nn::for_each_layer(model, [&](const std::string& path, nn::Layer& layer) {
      const auto* q = layer.as<Quantized>();
      if (!q) return;
      const nn::Layer& part = q->output_fn ? q->output_fn : q->input_fn;
      add(&*layer,
          {.path = path,
           .layer = q->wrapped ? q->wrapped->describe() : "",
           .weight = "",
           .input = name_of(part)},
          {switchable(q->input_fn, false), switchable(q->output_fn, false)});
    });
    PARE_CHECK(!units_.empty(), "profile: the model has no quantizer that can be switched off");
  }
  ~Profiler() override {
    for (const auto& [quantizer, mode] : modes_) quantizer->mode = mode;
  }
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;

  void run(const Tensor& x) {
    wanted_.clear();
    next_ = 0;
    set_all(Mode::off);
    cumulative_ = false;
    model_(x).data();
    set_all(Mode::quantize);
    cumulative_ = true;
    model_(x).data();
  }

  void after(nn::Module& module, const Tensor& x, const Tensor& y) override {
    const auto it = by_module_.find(&module);
    if (busy_ || it == by_module_.end()) return;
    Unit& unit = units_[it->second];
    if (cumulative_) {
      unit.cumulative.add(wanted_.at(next_++), y, options_);
      return;
    }
    if (unit.alone.batches == 0) order_.push_back(it->second);
    wanted_.push_back(y.clone());
    busy_ = true;  // what runs now is no part of the model's forward
    set(unit, Mode::quantize);
    unit.alone.add(wanted_.back(), module.forward(x), options_);
    set(unit, Mode::off);
    busy_ = false;
  }

  Profile result() {
    Profile profile;
    for (const size_t i : order_) {
      Unit& u = units_[i];
      u.row.alone = u.alone.result();
      u.row.cumulative = u.cumulative.result();
      if (options_.metric) {
        for (const Sums* s : {&u.alone, &u.cumulative}) {
          u.row.metrics.push_back(s->metric / static_cast<double>(s->batches));
        }
      }
      profile.rows.push_back(std::move(u.row));
    }
    return profile;
  }

 private:
  static std::string name_of(const nn::Layer& part) { return part ? part->describe() : ""; }

  void add(const nn::Module* module, Profile::Row row, const std::vector<Quantizer*>& parts) {
    Unit unit{std::move(row), {}, {}, {}};
    for (Quantizer* q : parts) {
      if (!q) continue;
      unit.quantizers.push_back(q);
      modes_.push_back({q, q->mode});
    }
    if (unit.quantizers.empty()) return;
    by_module_[module] = units_.size();
    units_.push_back(std::move(unit));
  }

  static void set(const Unit& unit, Mode mode) {
    for (Quantizer* q : unit.quantizers) q->mode = mode;
  }
  void set_all(Mode mode) {
    for (const Unit& u : units_) set(u, mode);
  }

  nn::Layer& model_;
  const ProfileOptions& options_;
  std::vector<Unit> units_;
  std::vector<std::pair<Quantizer*, Mode>> modes_;  // before
  std::unordered_map<const nn::Module*, size_t> by_module_;
  std::vector<size_t> order_;   // in which they ran
  std::vector<Tensor> wanted_;  // float outputs of this batch, in the order of the calls
  size_t next_ = 0;
  bool cumulative_ = false, busy_ = false;
};

std::string decibel(double value) {
  return std::isinf(value) ? "exact" : fmt::format("{:.2f}", value);
}

}  // namespace

Profile profile(nn::Layer& model, const std::vector<Tensor>& batches,
                const ProfileOptions& options) {
  PARE_CHECK(!batches.empty(), "profile: no images");
  const NoGrad guard;
  const nn::EvalMode eval(model);
  Profiler profiler(model, options);
  for (const Tensor& x : batches) profiler.run(x);
  return profiler.result();
}

std::ostream& operator<<(std::ostream& out, const Profile& profile) {
  const bool metric = !profile.rows.empty() && !profile.rows[0].metrics.empty();
  std::vector<std::vector<std::string>> lines{
      {"layer", "alone: MSE", "cosine", "SQNR dB", "cumulative: MSE", "cosine", "SQNR dB"}};
  if (metric) lines[0].insert(lines[0].end(), {"metric alone", "cumulative"});
  for (const Profile::Row& r : profile.rows) {
    std::vector<std::string> line{r.path};
    for (const ValueError* e : {&r.alone, &r.cumulative}) {
      line.push_back(fmt::format("{:.3e}", e->mse));
      line.push_back(fmt::format("{:.5f}", e->cosine));
      line.push_back(decibel(e->sqnr));
    }
    for (const double value : r.metrics) line.push_back(fmt::format("{:.4g}", value));
    lines.push_back(line);
  }
  return out << nn::columns(lines);
}

}  // namespace pare::quant
