#pragma once
// Watching ops while they run: what a model computes is learned by running it once.

#include <initializer_list>
#include <type_traits>
#include <variant>
#include <vector>

#include "core/tensor.h"

namespace pare {

/// One option of an op. Names and words are literals.
struct Attribute {
  /// A Shape is any short list of whole numbers; a tensor is one that the op reads or updates
  /// outside of the tape, such as a running mean.
  using Value = std::variant<bool, int64_t, float, const char*, Hw, Shape, Tensor>;

  template <class T>
  Attribute(const char* attribute, const T& option) : name(attribute) {
    // Said type by type: an integer must not become an Hw on the way.
    if constexpr (std::is_same_v<T, bool>) {
      value = option;
    } else if constexpr (std::is_integral_v<T>) {
      value = static_cast<int64_t>(option);
    } else if constexpr (std::is_floating_point_v<T>) {
      value = static_cast<float>(option);
    } else {
      value = option;
    }
  }

  const char* name;  // null: skip it
  Value value;
};
using Attributes = std::initializer_list<Attribute>;

/// y = op(inputs) has just been computed.
struct OpCall {
  const char* op;
  Attributes attributes;
  const std::vector<Tensor>& inputs;
  const Tensor& y;
};

/// While one lives, it is told of every op on its thread, recorded on the tape or not. Ops are then
/// computed one by one, as they were written, not fused. Several may be nested; each of them is
/// told.
class OpObserver {
 public:
  OpObserver();
  virtual ~OpObserver();
  OpObserver(const OpObserver&) = delete;
  OpObserver& operator=(const OpObserver&) = delete;

  virtual void after(const OpCall& call) = 0;

  /// Whether there is one on this thread.
  static bool any();
  static void notify(const OpCall& call);

 private:
  OpObserver* outer_;
};

}  // namespace pare
