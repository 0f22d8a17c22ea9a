#include "apps/json.h"

#include "core/error.h"
#include "core/files.h"

namespace pare {

Json read_json_file(const std::string& path) {
  Json json = Json::parse(read_file(path), nullptr, false);
  PARE_CHECK(json.is_object(), path, ": not a JSON object");
  return json;
}

}  // namespace pare
