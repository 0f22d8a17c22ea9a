#pragma once
// Models of any shape, written in place.

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/ops.h"
#include "nn/module.h"

namespace pare::test {

/// Named layers.
struct Parts {
  std::vector<std::pair<std::string, nn::Layer>> list;

  const nn::Layer& operator[](const std::string& name) const {
    for (const auto& part : list) {
      if (part.first == name) return part.second;
    }
    throw Error("no part " + name);
  }
};

struct OddNet final : nn::Module {
  using Forward = std::function<Tensor(const Parts&, const Tensor&)>;

  OddNet(std::vector<std::pair<std::string, nn::Layer>> layers, Forward f)
      : parts{std::move(layers)}, run(std::move(f)) {}
  Tensor forward(const Tensor& x) override { return run(parts, x); }
  void visit(nn::Visitor& v) override {
    for (auto& part : parts.list) v(part.first, part.second);
  }
  std::string describe() const override { return "OddNet"; }

  Parts parts;
  Forward run;
};

}  // namespace pare::test
