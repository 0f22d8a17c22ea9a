#pragma once
// What `pare quantize` says about what it did, as JSON.

#include "apps/json.h"
#include "quant/bias_correction.h"
#include "quant/bn_tuning.h"
#include "quant/equalize.h"
#include "quant/placement.h"
#include "quant/profile.h"
#include "quant/reconstruct.h"

namespace pare {

Json to_json(const quant::Plan& plan);
Json to_json(const quant::EqualizeReport& report);
Json to_json(const quant::ReconstructReport& report);
Json to_json(const quant::BiasReport& report);
Json to_json(const quant::BnTuningReport& report);
Json to_json(const quant::Profile& profile);

}  // namespace pare
