#include "deploy/runtime/program.h"

#include "core/error.h"

namespace pare::runtime {

namespace {

/// How the s of an odd number 2 s + 1 is stored; other codings are their own.
Coding plain(Coding coding) {
  if (coding == Coding::o8) return Coding::s8;
  if (coding == Coding::o4) return Coding::s4;
  return coding == Coding::o2 ? Coding::s2 : coding;
}

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
    default:
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
    default:
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
    default:
      break;
  }
  return 0;
}

}  // namespace

int64_t filter_bytes(Coding coding, int64_t n) {
  const int together = per_byte(plain(coding));
  return coding == Coding::f32 ? 4 * n : (n + together - 1) / together;
}

const char* coding_name(Coding coding) {
  constexpr const char* kNames[] = {"float",  "int8",     "int4",     "int2",    "ternary",
                                    "binary", "int8 odd", "int4 odd", "int2 odd"};
  return kNames[static_cast<int>(coding)];
}

void unpack_filter(Coding coding, const uint8_t* packed, int64_t n, int16_t* values) {
  const Coding stored = plain(coding);
  const int together = per_byte(stored);
  for (int64_t i = 0; i < n; ++i) {
    const int s = digit(stored, packed[i / together], static_cast<int>(i % together));
    values[i] = static_cast<int16_t>(stored == coding ? s : 2 * s + 1);
  }
}

void pack_filter(Coding coding, const int16_t* values, int64_t n, uint8_t* packed) {
  const Coding stored = plain(coding);
  const int together = per_byte(stored);
  for (int64_t i = 0; i < n; i += together) {
    int byte = 0;
    for (int place = 0; place < together && i + place < n; ++place) {
      const int v = values[i + place];
      byte += placed(stored, stored == coding ? v : (v - 1) / 2, place);
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
