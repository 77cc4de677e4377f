// The tile shapes of grouped_gemm.cuh for different numbers of rows per expert.
#pragma once
#include "grouped_gemm.cuh"

namespace yamoe {

#if __CUDA_ARCH__ >= 800
constexpr int kStages = 4;
constexpr int kManyStages = 8;
#else
constexpr int kStages = 2;  // 64 KiB of shared memory, and copies go through registers
constexpr int kManyStages = 2;
#endif

//                        rows  cols  warps
using Tile256 = Tile<256, 128, 4, 2, kStages>;
using Tile128 = Tile<128, 128, 2, 2, kStages>;
using Tile64 = Tile<64, 128, 2, 2, kStages>;
// For few rows the bytes in flight matter most: many small blocks whose copies run far ahead.
using Tile16 = Tile<16, 64, 1, 1, kManyStages>;

}  // namespace yamoe
