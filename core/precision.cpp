#include "core/precision.h"

#include <atomic>

#include "core/error.h"

namespace pare {

namespace {

std::atomic<Precision>& current() {
  static std::atomic<Precision> value{Precision::fp32};
  return value;
}

}  // namespace

Precision precision() { return current(); }
void set_precision(Precision value) { current() = value; }

const char* precision_name(Precision value) { return value == Precision::bf16 ? "bf16" : "fp32"; }

Precision parse_precision(std::string_view name) {
  for (const Precision value : {Precision::fp32, Precision::bf16}) {
    if (name == precision_name(value)) return value;
  }
  PARE_CHECK(false, "precision: got '", name, "', expected fp32 or bf16");
}

}  // namespace pare
