#pragma once
// Lowered models as programs make and show them.

#include <string>

#include "apps/loaded_model.h"
#include "deploy/lower.h"
#include "deploy/runtime/session.h"

namespace pare {

/// A trained model as a program that knows its classes and how its images are normalized.
deploy::Lowered lower_loaded(LoadedModel& loaded, const DataArgs& data);

/// "conv", "max_pool", ...
const char* op_name(runtime::OpKind kind);
/// "avx512+popcnt, 2 threads"
std::string describe(const runtime::Session& session);

}  // namespace pare
