// bfloat16 tiles by float32 instructions on any CPU, see conv_pair_avx512.cpp.
#include <stddef.h>
#include <string.h>

#include "core/kernels/conv_tile.h"

namespace pare::kernels {
namespace pair_portable {
namespace {

#include "core/kernels/conv_vector_portable-inl.h"

struct V : FloatVector {
  typedef uint32_t Bits __attribute__((vector_size(16)));
  static constexpr int kTerms = 2;
  static Reg fma(Reg a, Reg b, Reg c) {
    c = second(a) * second(b) + c;
    return first(a) * first(b) + c;
  }
  static Reg first(Reg v) { return reinterpret_cast<Reg>(reinterpret_cast<Bits>(v) << 16); }
  static Reg second(Reg v) {
    return reinterpret_cast<Reg>(reinterpret_cast<Bits>(v) & 0xffff0000u);
  }
};
constexpr int kVectors = 2;

#include "core/kernels/conv_tile-inl.h"
#include "core/kernels/conv_tile_outer-inl.h"
#include "core/kernels/conv_tile_product-inl.h"

}  // namespace
}  // namespace pair_portable

const TileKernels kPairPortable{{pair_portable::V::kLanes, pair_portable::kMaxRows,
                                 pair_portable::kVectors, pair_portable::gather},
                                pair_portable::outer,
                                pair_portable::copy_columns,
                                pair_portable::copy_rows,
                                pair_portable::product,
                                pair_portable::spin};

}  // namespace pare::kernels
