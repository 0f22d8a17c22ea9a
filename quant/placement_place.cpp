// Plans as text, and putting them in.

#include <algorithm>
#include <set>
#include <sstream>

#include "quant/placement.h"
#include "quant/quantizer.h"

namespace pare::quant {

namespace {

constexpr const char* kSockets[] = {"weight_fn", "input_fn", "output_fn"};  // in order of Socket

Role role_of(Socket socket) { return socket == Socket::weight ? Role::weight : Role::activation; }

/// The place at a path, empty or not.
class Find final : public nn::PathVisitor {
 public:
  explicit Find(const std::string& path) : path_(path) {}
  nn::Layer* found = nullptr;

 private:
  void on_child(std::string_view name, nn::Layer& child) override {
    if (join(name) == path_) found = &child;
    if (!found) PathVisitor::on_child(name, child);
  }
  const std::string& path_;
};

/// Puts a module, or an empty place, into a Quantized, unless it is in one.
Quantized& wrapped(nn::Layer& slot) {
  if (auto* q = slot.as<Quantized>()) return *q;
  Quantized around;
  around.training = slot ? slot->training : true;
  around.wrapped = std::move(slot);
  slot = std::move(around);
  return *slot.as<Quantized>();
}

Report::Row put(nn::Layer& model, const Placement& p) {
  Find find(p.path);
  find.walk(model);
  PARE_CHECK(find.found, "quant: the model has no place called ", p.path,
             hint("the plan is that of another model"));
  PARE_CHECK(p.socket != Socket::weight, "quant: ", p.path, " has no weight to quantize");
  Quantized& around = wrapped(*find.found);
  nn::Layer quantizer = make_quantizer(p.spec, {{}, p.channels});
  nn::set_training(quantizer, around.training);
  Report::Row row{.path = p.path,
                  .layer = around.wrapped ? around.wrapped->describe() : "(nothing else)",
                  .weight = "",
                  .input = quantizer->describe()};
  if (p.socket == Socket::output) row.input += " behind it";
  (p.socket == Socket::input ? around.input_fn : around.output_fn) = std::move(quantizer);
  return row;
}

}  // namespace

std::string to_string(const Placement& p) {
  return p.path + "." + kSockets[static_cast<size_t>(p.socket)];
}

Placement parse_placement(const std::string& text) {
  const size_t dot = text.rfind('.');
  for (size_t i = 0; i < std::size(kSockets); ++i) {
    if (dot == std::string::npos || text.substr(dot + 1) != kSockets[i]) continue;
    return {.path = text.substr(0, dot), .socket = static_cast<Socket>(i)};
  }
  throw Error(str("quant: '", text, "' is not the place of a quantizer",
                  hint("such as layer1.0.conv1.weight_fn")));
}

std::string to_string(const QuantizerSpec& spec) {
  const QuantizerSpec whole = checked(spec);
  std::string text = name_and_bits(whole);
  for (const Option& o : options_of(whole)) {
    if (whole.word(o.name) != o.usual) text += "," + o.name + "=" + whole.word(o.name);
  }
  return text;
}

QuantizerSpec parse_spec(const std::string& text, Role role) {
  std::istringstream in(text);
  std::string part;
  std::getline(in, part, ',');
  QuantizerSpec spec = parse_quantizer(part, role);
  while (std::getline(in, part, ',')) {
    const size_t equals = part.find('=');
    PARE_CHECK(equals != std::string::npos, "quant: '", text, "': '", part,
               "' is not option=value");
    spec.options[part.substr(0, equals)] = part.substr(equals + 1);
  }
  return checked(spec);
}

std::string Quantized::describe() const { return "Quantized"; }

Report place(nn::Layer& model, const std::vector<Placement>& placements) {
  std::set<const Placement*> done;
  const auto take = [&](const LayerInfo& info, Socket socket) -> nn::Layer {
    for (const Placement& p : placements) {
      if (p.path != info.path || p.socket != socket) continue;
      PARE_CHECK(p.spec.role == role_of(socket), "quant: ", to_string(p), " is not for ",
                 p.spec.role == Role::weight ? "weights" : "activations");
      done.insert(&p);
      return make_quantizer(p.spec, info.site());
    }
    return {};
  };
  Report report = attach_each(model, [&](const LayerInfo& info) -> Spec {
    return {.weight = take(info, Socket::weight), .input = take(info, Socket::input)};
  });
  std::vector<const Placement*> others;
  for (const Placement& p : placements) {
    if (!done.count(&p)) others.push_back(&p);
  }
  // Inner places first: a Quantized changes the paths of what is in it.
  std::stable_sort(others.begin(), others.end(),
                   [](const auto* a, const auto* b) { return a->path.size() > b->path.size(); });
  for (const Placement* p : others) report.rows.push_back(put(model, *p));
  nn::assign_paths(model);
  return report;
}

}  // namespace pare::quant
