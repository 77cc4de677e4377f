// Writes far below its own frame.
#include <cstdint>

extern "C" __global__ void test_stack(int* out, int distance) {
  volatile char here = 0;
  const uintptr_t address = reinterpret_cast<uintptr_t>(&here) - distance;
  if (threadIdx.x == 7) *reinterpret_cast<volatile char*>(address) = 1;
  out[threadIdx.x] = here;
}
