// Decodes packed weights to a dense tensor, for the products that do not read them as they are stored.
#include <ptx.cuh>

#include "dtype.cuh"
#include "stored_weights.cuh"

namespace yamoe {

struct DecodeStoredArguments {
  StoredWeights weights;
  void* out;  // [experts][width][depth]
  int width, depth;
  int dtype;
};

}  // namespace yamoe

// A block of threads for each row.
extern "C" __global__ void __launch_bounds__(256) decode_stored(const yamoe::DecodeStoredArguments p) {
  using namespace yamoe;
  wait_for_previous_kernel();
  allow_next_kernel();
  const int expert = blockIdx.x / p.width, row = blockIdx.x % p.width;
  const size_t first = static_cast<size_t>(blockIdx.x) * p.depth;
  for (int k = threadIdx.x; k < p.depth; k += blockDim.x) {
    store_as(p.out, first + k, stored_value(p.weights, expert, row, k, p.width, p.depth), p.dtype);
  }
}
