#include "apps/pare/quantize_report.h"

#include <cmath>

namespace pare {

namespace {

/// What JSON has no number for is null.
Json finite(double value) { return std::isfinite(value) ? Json(value) : Json(); }

Json error_json(const quant::ValueError& e) {
  return {{"mse", finite(e.mse)}, {"cosine", finite(e.cosine)}, {"sqnr_db", finite(e.sqnr)}};
}

template <class Rows, class F>
Json list(const Rows& rows, F&& f) {
  Json all = Json::array();
  for (const auto& row : rows) all.push_back(f(row));
  return all;
}

}  // namespace

Json to_json(const quant::Plan& plan) {
  return list(plan.rows, [](const quant::Plan::Row& r) {
    Json row{
        {"reader", r.node}, {"op", r.op}, {"value", r.value}, {"kind", quant::name_of(r.kind)}};
    if (r.placement) {
      row["quantizer"] = quant::to_string(r.placement->spec);
      row["at"] = quant::to_string(*r.placement);
    } else {
      row["why"] = r.why;
    }
    return row;
  });
}

Json to_json(const quant::EqualizeReport& report) {
  return list(report.rows, [](const quant::EqualizeReport::Row& r) -> Json {
    if (r.second.empty()) return {{"first", r.first}, {"stays", r.stayed_because}};
    return {{"first", r.first},
            {"second", r.second},
            {"channels", r.channels},
            {"before", finite(r.before)},
            {"after", finite(r.after)}};
  });
}

Json to_json(const quant::ReconstructReport& report) {
  return list(report.rows, [](const quant::ReconstructReport::Row& r) -> Json {
    return {{"path", r.path},   {"nearest", finite(r.nearest)}, {"learned", finite(r.learned)},
            {"moved", r.moved}, {"weights", r.weights},         {"images", r.images},
            {"relu", r.relu}};
  });
}

Json to_json(const quant::BiasReport& report) {
  return list(report.rows, [](const quant::BiasReport::Row& r) -> Json {
    return {{"path", r.path},
            {"shift", finite(r.shift)},
            {"size", finite(r.size)},
            {"new_bias", r.new_bias}};
  });
}

Json to_json(const quant::BnTuningReport& report) {
  return list(report.rows, [](const quant::BnTuningReport::Row& r) -> Json {
    return {{"norm", r.path},
            {"channels", r.channels},
            {"mean_shift", finite(r.mean_shift)},
            {"var_ratio", finite(r.var_ratio)}};
  });
}

Json to_json(const quant::Profile& profile) {
  return list(profile.rows, [](const quant::Profile::Row& r) -> Json {
    return {{"path", r.path},
            {"layer", r.layer},
            {"weight", r.weight},
            {"input", r.input},
            {"alone", error_json(r.alone)},
            {"cumulative", error_json(r.cumulative)}};
  });
}

}  // namespace pare
