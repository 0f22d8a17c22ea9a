// A vector of floats for the tiles of conv_tile-inl.h. Included inside the namespace of an ISA
// file, which includes what it needs.

struct FloatVector {
  typedef float Reg __attribute__((vector_size(16)));
  static constexpr int kLanes = 4, kTerms = 1;
  static constexpr int rows(int vectors) { return vectors == 2 ? 4 : 8; }
  static Reg load(const float* p) {
    Reg v;
    memcpy(&v, p, sizeof v);
    return v;
  }
  static Reg load_part(const float* p, int n) {
    Reg v = {};
    memcpy(&v, p, static_cast<size_t>(n) * sizeof(float));
    return v;
  }
  static Reg set1(float x) { return Reg{x, x, x, x}; }
  static Reg value(Reg sum, const GatherTile&, int) { return sum; }  // of vector n
  static Reg fma(Reg a, Reg b, Reg c) { return a * b + c; }
  static void store(float* p, Reg v) { memcpy(p, &v, sizeof v); }
  static void store_part(float* p, Reg v, int n) {
    memcpy(p, &v, static_cast<size_t>(n) * sizeof(float));
  }
};
