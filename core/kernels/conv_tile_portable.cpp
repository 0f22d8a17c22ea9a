// Any CPU: four-lane vectors through the compiler's vector extension (SSE2, NEON), tiles of 4 x 8
// and 8 x 4.
#include <string.h>

#include "core/kernels/conv_tile.h"

namespace pare::kernels {
namespace portable {
namespace {

#include "core/kernels/conv_vector_portable-inl.h"
using V = FloatVector;
constexpr int kVectors = 2;

#include "core/kernels/conv_tile-inl.h"
#include "core/kernels/conv_tile_outer-inl.h"
#include "core/kernels/conv_tile_product-inl.h"

}  // namespace
}  // namespace portable

const TileKernels kTilePortable{
    {portable::V::kLanes, portable::kMaxRows, portable::kVectors, portable::gather},
    portable::outer,
    portable::copy_columns,
    portable::copy_rows,
    portable::product,
    portable::spin};

}  // namespace pare::kernels
