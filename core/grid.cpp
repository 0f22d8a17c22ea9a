#include "core/grid.h"

#include <cstdlib>
#include <string_view>

namespace pare {

namespace {

bool& use() {
  static bool on = [] {
    const char* text = std::getenv("PARE_INTEGERS");
    return !text || std::string_view(text) != "0";
  }();
  return on;
}

}  // namespace

bool integer_products() { return use(); }
void set_integer_products(bool on) { use() = on; }

}  // namespace pare
