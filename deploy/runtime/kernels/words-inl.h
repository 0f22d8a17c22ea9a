// What all tiles of an instruction set share, written over its vector type V.

constexpr int kHalves = kPanel / V::kLanes;  // vectors of a panel

[[gnu::always_inline]] inline uint32_t word_at(const uint8_t* x) {
  uint32_t word;
  std::memcpy(&word, x, sizeof word);
  return word;
}
