#include "apps/pare/sensitivity_file.h"

#include <fmt/format.h>

#include <filesystem>

#include "core/error.h"

namespace pare {

namespace {

using quant::Sensitivity;

Json points_json(const std::vector<Sensitivity::Point>& points) {
  Json list = Json::array();
  for (const Sensitivity::Point& p : points) {
    list.push_back({{"bits", p.bits}, {"loss", p.loss}, {"noise", p.noise}, {"size", p.size}});
  }
  return list;
}

std::vector<Sensitivity::Point> points_from(const Json& list) {
  std::vector<Sensitivity::Point> points;
  for (const Json& p : list) {
    points.push_back({.bits = p.at("bits").get<int>(),
                      .loss = p.at("loss").get<double>(),
                      .noise = p.at("noise").get<double>(),
                      .size = p.at("size").get<int64_t>()});
  }
  return points;
}

}  // namespace

Json to_json(const Sensitivity& s) {
  Json layers = Json::array();
  for (const Sensitivity::Layer& l : s.layers) {
    layers.push_back({{"path", l.path},
                      {"weights", l.weights},
                      {"macs", l.macs},
                      {"trace", l.trace},
                      {"weight_bits", points_json(l.weight)},
                      {"input_bits", points_json(l.input)}});
  }
  return {{"scheme", s.scheme},         {"loss", s.loss},     {"top1", s.top1},
          {"images", s.images},         {"probes", s.probes}, {"other_size", s.other_size},
          {"other_macs", s.other_macs}, {"layers", layers}};
}

Sensitivity read_sensitivity(const std::string& path) {
  const Json json = read_json_file(path);
  try {
    Sensitivity s{.scheme = json.at("scheme").get<std::string>(),
                  .loss = json.at("loss").get<double>(),
                  .top1 = json.at("top1").get<double>(),
                  .images = json.at("images").get<int64_t>(),
                  .probes = json.at("probes").get<int64_t>(),
                  .other_size = json.at("other_size").get<int64_t>(),
                  .other_macs = json.at("other_macs").get<int64_t>()};
    for (const Json& l : json.at("layers")) {
      s.layers.push_back({.path = l.at("path").get<std::string>(),
                          .weights = l.at("weights").get<int64_t>(),
                          .macs = l.at("macs").get<int64_t>(),
                          .trace = l.at("trace").get<double>(),
                          .weight = points_from(l.at("weight_bits")),
                          .input = points_from(l.at("input_bits"))});
    }
    return s;
  } catch (const nlohmann::json::exception& e) {
    throw Error(str(path, ": is no result of pare sensitivity: ", e.what(),
                    hint("make one with pare sensitivity --out FILE")),
                "read_sensitivity");
  }
}

std::string to_csv(const Sensitivity& s) {
  std::string text = "layer,side,bits,loss,noise,size,weights,macs,trace\n";
  for (const Sensitivity::Layer& l : s.layers) {
    for (const auto* points : {&l.weight, &l.input}) {
      for (const Sensitivity::Point& p : *points) {
        text += fmt::format("{},{},{},{},{},{},{},{},{}\n", l.path,
                            points == &l.weight ? "weight" : "input", p.bits, p.loss, p.noise,
                            p.size, l.weights, l.macs, l.trace);
      }
    }
  }
  return text;
}

void check_folder_of(const std::string& path) {
  const auto folder = std::filesystem::path(path).parent_path();
  PARE_CHECK(folder.empty() || std::filesystem::is_directory(folder), path, ": there is no folder ",
             folder.string());
}

}  // namespace pare
