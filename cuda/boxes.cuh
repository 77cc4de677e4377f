// What Hopper's kernels share: weights that are copied in boxes of a tensor map, into a ring of stages.
#pragma once
#include <ptx.cuh>

#include "product.cuh"

namespace yamoe {

// The layout of the weights in memory. kInOutSplit: each row has the gate columns in one half and the up columns in the
// other. They are copied to separate slabs of half the width.
enum class WeightLayout { kInOut, kInOutSplit, kOutIn };

template <class T>
struct BoxedArguments : Product<T> {
  TensorMap weights;
  int* counters;  // the first is zero, also afterwards: tickets
};

// For products whose rows of A are consecutive.
template <class T>
struct BoxedRowsArguments : BoxedArguments<T> {
  TensorMap rows;
};

// A position in the ring, and the number of rounds modulo 2.
template <class Tile>
struct RingPlace {
  int stage = 0;
  uint32_t round = 0;

  __device__ __forceinline__ void next() {
    if (++stage == Tile::kStages) {
      stage = 0;
      round ^= 1;
    }
  }
};

}  // namespace yamoe
