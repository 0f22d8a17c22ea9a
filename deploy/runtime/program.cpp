#include "deploy/runtime/program.h"

#include "core/error.h"

namespace pare::runtime {

namespace {

int per_byte(Coding coding) {
  switch (coding) {
    case Coding::s8:
      return 1;
    case Coding::s4:
      return 2;
    case Coding::s2:
      return 4;
    case Coding::ternary:
      return 5;
    case Coding::binary:
      return 8;
    case Coding::f32:
      break;
  }
  return 0;
}

int digit(Coding coding, uint8_t byte, int place) {
  switch (coding) {
    case Coding::s8:
      return static_cast<int8_t>(byte);
    case Coding::s4:
      return ((byte >> (4 * place) & 15) ^ 8) - 8;
    case Coding::s2:
      return ((byte >> (2 * place) & 3) ^ 2) - 2;
    case Coding::ternary: {
      constexpr int kPowers[] = {1, 3, 9, 27, 81};
      return byte / kPowers[place] % 3 - 1;
    }
    case Coding::binary:
      return (byte >> place & 1) * 2 - 1;
    case Coding::f32:
      break;
  }
  return 0;
}

int placed(Coding coding, int value, int place) {
  switch (coding) {
    case Coding::s8:
      return value & 255;
    case Coding::s4:
      return (value & 15) << (4 * place);
    case Coding::s2:
      return (value & 3) << (2 * place);
    case Coding::ternary: {
      constexpr int kPowers[] = {1, 3, 9, 27, 81};
      return (value + 1) * kPowers[place];
    }
    case Coding::binary:
      return (value > 0) << place;
    case Coding::f32:
      break;
  }
  return 0;
}

}  // namespace

int64_t filter_bytes(Coding coding, int64_t n) {
  return coding == Coding::f32 ? 4 * n : (n + per_byte(coding) - 1) / per_byte(coding);
}

const char* coding_name(Coding coding) {
  constexpr const char* kNames[] = {"float", "int8", "int4", "int2", "ternary", "binary"};
  return kNames[static_cast<int>(coding)];
}

void unpack_filter(Coding coding, const uint8_t* packed, int64_t n, int8_t* values) {
  const int together = per_byte(coding);
  for (int64_t i = 0; i < n; ++i) {
    const int place = static_cast<int>(i % together);
    values[i] = static_cast<int8_t>(digit(coding, packed[i / together], place));
  }
}

void pack_filter(Coding coding, const int8_t* values, int64_t n, uint8_t* packed) {
  const int together = per_byte(coding);
  for (int64_t i = 0; i < n; i += together) {
    int byte = 0;
    for (int place = 0; place < together && i + place < n; ++place) {
      byte += placed(coding, values[i + place], place);
    }
    packed[i / together] = static_cast<uint8_t>(byte);
  }
}

Bytes Bytes::of(std::vector<uint8_t> bytes) {
  auto owner = std::make_shared<const std::vector<uint8_t>>(std::move(bytes));
  return {owner, owner->data(), static_cast<int64_t>(owner->size())};
}

int64_t macs(const Program& program, const Op& op) {
  if (op.kind != OpKind::conv) return 0;
  const Buffer& in = program.buffers[static_cast<size_t>(op.inputs[0])];
  const Buffer& out = program.buffers[static_cast<size_t>(op.output)];
  return out.numel() * op.window.kh * op.window.kw * (in.c / op.groups);
}

}  // namespace pare::runtime
