#include "quant/grid_quantizer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace pare::quant {

namespace {

Coding coding_of(const QuantizerSpec& s) {
  if (!s.options.count("scheme")) return Coding::symmetric;
  const std::string& word = s.word("scheme");
  if (word == "affine") return Coding::affine;
  if (word == "unsigned") return Coding::positive;
  return word == "auto" ? Coding::automatic : Coding::symmetric;
}

const char* coding_name(Coding c) {
  switch (c) {
    case Coding::symmetric:
      return "symmetric";
    case Coding::affine:
      return "affine";
    case Coding::positive:
      return "unsigned";
    case Coding::automatic:
      return "auto";
  }
  return "?";
}

}  // namespace

Option coding_option(std::vector<std::string> words, std::map<std::string, std::string> refused) {
  const std::string usual = words.front();
  return {.name = "scheme",
          .help =
              "symmetric (signed codes), affine (a zero point), unsigned, or auto: unsigned if "
              "calibration sees nothing negative, else symmetric",
          .words = std::move(words),
          .usual = usual,
          .refused = std::move(refused)};
}

Option per_option(std::vector<std::string> words, std::map<std::string, std::string> refused) {
  const std::string usual = words.front();
  return {.name = "per",
          .help = "what shares a scale",
          .words = std::move(words),
          .usual = usual,
          .refused = std::move(refused)};
}

Option rounding_option() {
  return {.name = "rounding",
          .help = "how halves are rounded: to the even neighbour or away from zero",
          .words = {"half-even", "half-away"},
          .usual = "half-even"};
}

Option observer_option(const std::string& usual) {
  return {.name = "observer",
          .help = "how calibration chooses a range",
          .words = observer_names(),
          .usual = usual};
}

Option codes_option() {
  return {
      .name = "codes",
      .help = "narrow leaves out the lowest signed code, so that there are as many on each side",
      .words = {"full", "narrow"},
      .usual = "full"};
}

std::string narrow_needs_signs(const QuantizerSpec& s) {
  if (s.is("codes", "full") || s.is("scheme", "symmetric")) return {};
  return "codes=narrow is about codes with a sign: it needs scheme=symmetric";
}

GridQuantizer::GridQuantizer(const QuantizerSpec& spec, const Site& site)
    : role(spec.role), coding(coding_of(spec)), spec_(spec), bits_(spec.bits) {
  if (spec.options.count("rounding") && spec.is("rounding", "half-away")) {
    rounding = Rounding::half_away;
  }
  if (spec.options.count("per") && spec.is("per", "channel")) {
    const bool weight = role == Role::weight;
    share = weight ? QuantShare::filter : QuantShare::channel;
    groups = weight ? site.weight.dim(0) : site.inputs;
    PARE_CHECK(groups > 0, "quant: ", spec.name,
               " with per=channel does not know how many channels "
               "there are here",
               hint("place it at the input of a layer, or say per=tensor"));
  }
  calibrated = Tensor::zeros({1});
  const Grid g = Grid::with_sign(bits_);
  if (coding == Coding::automatic) codes = Tensor::of({g.lo, g.hi});
}

Grid GridQuantizer::grid() const {
  if (coding == Coding::automatic) return {bits_, codes.data()[0], codes.data()[1]};
  const bool narrow = spec_.options.count("codes") && spec_.is("codes", "narrow");
  return coding == Coding::symmetric ? Grid::with_sign(bits_, narrow) : Grid::without_sign(bits_);
}

FakeQuantOptions GridQuantizer::op_options() const {
  const Grid g = grid();
  return {.lo = g.lo, .hi = g.hi, .share = share, .rounding = rounding};
}

nn::Codes GridQuantizer::codes_for(const Tensor&) const {
  const Grid g = grid();
  nn::Codes c{.bits = bits_, .lo = g.lo, .hi = g.hi, .share = share, .scale = {}, .zero = {}};
  for (const ScaleZero& p : parameters()) {
    c.scale.push_back(std::max(p.scale, std::numeric_limits<float>::epsilon()));  // as fake_quant
    c.zero.push_back(std::nearbyint(p.zero));
  }
  c.rounding = rounding;
  return c;
}

std::shared_ptr<Observer> GridQuantizer::make_observer() const {
  return find_observer(spec_.word("observer")).make(setup());
}

void GridQuantizer::observe(const Tensor& x) {
  if (!observer_) observer_ = make_observer();
  observer_->observe(x.detach());
}

void GridQuantizer::settle() {
  PARE_CHECK(observer_, "quant: ", path.empty() ? "a quantizer" : path,
             " has seen no data: it cannot be calibrated");
  const std::vector<Interval>& seen = observer_->seen();
  const bool negative =
      std::any_of(seen.begin(), seen.end(), [](const Interval& i) { return i.min < 0; });
  PARE_CHECK(!(coding == Coding::positive && negative), "quant: ", describe(),
             " sees negative values, and has no codes for them",
             hint("say scheme=symmetric, or scheme=auto to let calibration decide"));
  if (coding == Coding::automatic) {
    const Grid g = negative ? Grid::with_sign(bits_) : Grid::without_sign(bits_);
    codes.data()[0] = g.lo, codes.data()[1] = g.hi;
  }
  set_ranges(*observer_);
  calibrated.fill_(1);
  observer_.reset();
}

Tensor GridQuantizer::quantize(const Tensor& x) {
  if (training && !frozen && calibrated.item() == 0) {
    observe(x);
    settle();
  }
  return apply(x);
}

std::string GridQuantizer::describe() const {
  const bool whole = share == QuantShare::tensor;
  const char* sharing = whole ? "per tensor" : role == Role::weight ? "per filter" : "per channel";
  std::string coded = coding_name(coding);
  if (coding == Coding::automatic && calibrated.item() != 0) {
    coded = grid().is_signed() ? "auto: symmetric" : "auto: unsigned";
  }
  return str(spec_.name, "(", bits_, " bits, ", coded, ", ", sharing, ")");
}

}  // namespace pare::quant
