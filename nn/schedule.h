#pragma once
// Learning rates as pure functions of progress: nothing to save, nothing to resume.

#include <functional>
#include <string>
#include <vector>

namespace pare::nn {

/// Where training stands, in epochs (fractional) of `epochs` in all.
using Schedule = std::function<float(double epoch, double epochs)>;

Schedule constant(float lr);
/// lr * gamma^(milestones passed)
Schedule multistep(float lr, std::vector<double> milestones, float gamma = 0.1f);
/// lr_end + (lr - lr_end) (1 + cos(pi t)) / 2
Schedule cosine(float lr, float lr_end = 0.0f);
/// Linear rise from lr/div to lr over the first `rise` of the run, cosine to lr/final_div.
/// arXiv:1708.07120
Schedule one_cycle(float lr, float rise = 0.3f, float div = 25.0f, float final_div = 1e4f);
/// `after`, scaled linearly from 0 to 1 over the first `epochs` epochs.
Schedule warmup(double epochs, Schedule after);

/// "constant", "cosine", "one-cycle", "multistep:80,130,180", "multistep:100,150:0.2"; anything may
/// be prefixed "warmup:5+". Throws on anything else, listing the forms.
Schedule parse_schedule(const std::string& text, float lr);

}  // namespace pare::nn
