#pragma once
// Thread-local stack arena for packing buffers: grows once, then costs nothing.

#include <cstddef>
#include <cstdint>

namespace pare {

/// Blocks taken from a Scratch live until it is destroyed; scopes must nest, as the stack does.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  /// `count` floats, 64-byte aligned, undefined contents.
  float* floats(int64_t count) {
    return static_cast<float*>(bytes(static_cast<size_t>(count) * sizeof(float)));
  }
  void* bytes(size_t count);

 private:
  size_t chunk_, offset_;  // where the arena stood when this scope began
};

}  // namespace pare
