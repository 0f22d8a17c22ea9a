#pragma once

#include <string_view>

namespace pare::nn {

/// Whether all of `text` fits a pattern in which * stands for any characters, and ? for any one.
bool glob(std::string_view pattern, std::string_view text);

}  // namespace pare::nn
