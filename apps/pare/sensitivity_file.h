#pragma once
// What `pare sensitivity` writes and `pare allocate` reads.

#include <string>

#include "apps/json.h"
#include "quant/sensitivity.h"

namespace pare {

Json to_json(const quant::Sensitivity& sensitivity);
/// From a file that holds such an object, among other keys or not; an error names the file.
quant::Sensitivity read_sensitivity(const std::string& path);
/// A line for each layer, side and number of bits, for plots.
std::string to_csv(const quant::Sensitivity& sensitivity);

/// Throws if there is no folder for this file: better before the work than after it.
void check_folder_of(const std::string& path);

}  // namespace pare
