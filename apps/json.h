#pragma once
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>

namespace pare {

using Json = nlohmann::ordered_json;

/// The shortest decimal that reads back as the same float: 0.01, not 0.009999999776.
inline Json json_number(float value) { return Json::parse(fmt::format("{}", value)); }

/// The JSON object in a file; an error names the file.
Json read_json_file(const std::string& path);

}  // namespace pare
