#include "core/kernels/conv_tile.h"

#include "core/kernels/isa.h"

namespace pare::kernels {

const TileKernels& tile_kernels() noexcept {
#if defined(__x86_64__)
  switch (active_isa()) {
    case Isa::avx512:
      return kTileAvx512;
    case Isa::avx2:
      return kTileAvx2;
    case Isa::portable:
      break;
  }
#endif
  return kTilePortable;
}

const TileKernels& pair_kernels() noexcept {
#if defined(__x86_64__)
  switch (active_isa()) {
    case Isa::avx512:
      return cpu_has_avx512_bf16() ? kPairAvx512Bf16 : kPairAvx512;
    case Isa::avx2:
      return kPairAvx2;
    case Isa::portable:
      break;
  }
#endif
  return kPairPortable;
}

const GatherKernels* quad_kernels() noexcept {
#if defined(__x86_64__)
  if (active_isa() == Isa::avx512 && cpu_has_avx512_vnni()) return &kQuadAvx512Vnni;
#endif
  return nullptr;
}

}  // namespace pare::kernels
