#include <fmt/format.h>

#include "deploy/lower.h"

namespace pare::deploy {

std::ostream& operator<<(std::ostream& out, const LowerReport& report) {
  size_t width = 5;
  for (const LowerReport::Row& r : report.rows) width = std::max(width, r.name.size());
  const auto line = [&](const std::string& name, const std::string& weights, const std::string& in,
                        const std::string& to, const std::string& macs, const std::string& bytes,
                        const std::string& note) {
    out << fmt::format("{:<{}}  {:<7}  {:<5}  {:<5}  {:>8}  {:>9}  {}", name, width, weights, in,
                       to, macs, bytes, note);
    out << '\n';
  };
  line("layer", "weights", "input", "gives", "MMAC", "bytes", "");
  for (const LowerReport::Row& r : report.rows) {
    line(r.name, r.weights, r.input, r.output,
         fmt::format("{:.2f}", static_cast<double>(r.macs) * 1e-6), fmt::format("{}", r.bytes),
         r.note.empty() ? "" : "float: " + r.note);
  }
  return out << fmt::format("{} layers, {:.3f} MB in the file\n", report.rows.size(),
                            static_cast<double>(report.bytes) * 1e-6);
}

}  // namespace pare::deploy
