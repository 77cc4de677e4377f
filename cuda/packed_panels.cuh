// How the input of a packed product is stored: see packed_gemm.cuh.
#pragma once
#include "packed_format.cuh"

namespace yamoe {

// The offset of an element of a panel in bytes. `row` is the number of the row, and `own` its number in its expert.
__device__ __forceinline__ size_t panel_offset(int rows, int row, int own, int column) {
  return (static_cast<size_t>(column / 64) * rows + row) * 128 + (column % 64 / 8 ^ own % 8) * 16 + column % 8 * 2;
}

}  // namespace yamoe
