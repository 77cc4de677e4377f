// One kernel for every check. It must fail the check on a line marked FAULT if `fixed` is 0, and pass if it is 1. A race has two
// lines, and either may be reported. 64 threads. `in` has 64 ints, `out` has 64 uninitialized ints. Dynamic shared memory has 512
// bytes, or 256 in the kernel that exceeds it.
#include <ptx.cuh>

using namespace yamoe;

#define FAULTY(name) extern "C" __global__ void name(const int* in, int* out, int fixed)

FAULTY(fault_global_out_of_bounds) {
  const int i = threadIdx.x;
  out[i] = in[fixed ? i : i + 1];  // FAULT fault_global_out_of_bounds
}

FAULTY(fault_null_pointer) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(in) * fixed;
  out[threadIdx.x] = *reinterpret_cast<const int*>(address);  // FAULT fault_null_pointer
}

FAULTY(fault_global_misaligned) {
  const char* const bytes = reinterpret_cast<const char*>(in) + (fixed ? 0 : 2);
  out[threadIdx.x] = *reinterpret_cast<const int*>(bytes);  // FAULT fault_global_misaligned
}

FAULTY(fault_global_unwritten) {
  const int i = threadIdx.x;
  if (fixed) out[i] = i;
  out[i] = out[i] + in[i];  // FAULT fault_global_unwritten
}

FAULTY(fault_global_race_in_block) {
  const int i = threadIdx.x;
  out[i] = 0;
  __syncthreads();
  out[i] = in[i];
  if (fixed) __syncthreads();
  const int neighbour = out[63 - i];  // FAULT fault_global_race_in_block
  __syncthreads();
  out[i] = neighbour;
}

FAULTY(fault_global_race_across_blocks) {
  const int i = fixed ? blockIdx.x * 32 + threadIdx.x % 32 : threadIdx.x;
  out[i] = in[threadIdx.x] + (fixed ? 0 : blockIdx.x);  // FAULT fault_global_race_across_blocks
}

FAULTY(fault_shared_out_of_bounds) {
  int* const shared = reinterpret_cast<int*>(dynamic_smem());       // 256 bytes
  shared[fixed ? threadIdx.x : threadIdx.x + 1] = in[threadIdx.x];  // FAULT fault_shared_out_of_bounds
  out[threadIdx.x] = in[threadIdx.x];
}

FAULTY(fault_shared_unwritten) {
  int* const shared = reinterpret_cast<int*>(dynamic_smem());
  if (fixed || threadIdx.x) shared[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = shared[threadIdx.x];  // FAULT fault_shared_unwritten
}

FAULTY(fault_missing_barrier) {
  int* const shared = reinterpret_cast<int*>(dynamic_smem());
  shared[threadIdx.x] = 0;
  __syncthreads();
  shared[threadIdx.x] = in[threadIdx.x];  // FAULT fault_missing_barrier
  if (fixed) __syncthreads();
  out[threadIdx.x] = shared[63 - threadIdx.x];  // FAULT fault_missing_barrier
}

FAULTY(fault_missing_second_barrier) {
  int* const shared = reinterpret_cast<int*>(dynamic_smem());
  shared[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  const int other = shared[63 - threadIdx.x];  // FAULT fault_missing_second_barrier
  if (fixed) __syncthreads();
  shared[threadIdx.x] = other;  // FAULT fault_missing_second_barrier
  out[threadIdx.x] = other;
}

FAULTY(fault_static_shared_race) {
  __shared__ int sum;
  if (threadIdx.x == 0) sum = 0;
  __syncthreads();
  if (fixed) atomicAdd(&sum, 1);
  else sum = threadIdx.x;  // FAULT fault_static_shared_race
  __syncthreads();
  out[threadIdx.x] = sum + in[0];
}

FAULTY(fault_missing_syncwarp) {
  int* const shared = reinterpret_cast<int*>(dynamic_smem());
  shared[threadIdx.x] = 0;
  __syncthreads();
  shared[threadIdx.x] = in[threadIdx.x];  // FAULT fault_missing_syncwarp
  if (fixed) __syncwarp();
  out[threadIdx.x] = shared[threadIdx.x ^ 1];  // FAULT fault_missing_syncwarp
}

FAULTY(fault_shuffle_is_no_fence) {
  int* const shared = reinterpret_cast<int*>(dynamic_smem());
  shared[threadIdx.x] = 0;
  __syncthreads();
  shared[threadIdx.x] = in[threadIdx.x];  // FAULT fault_shuffle_is_no_fence
  __shfl_sync(0xffffffffu, threadIdx.x, 0);
  if (fixed) __syncwarp();
  out[threadIdx.x] = shared[threadIdx.x ^ 1];  // FAULT fault_shuffle_is_no_fence
}

FAULTY(fault_divergent_barrier) {
  if (fixed || threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();  // FAULT fault_divergent_barrier
  }
  out[threadIdx.x] = in[threadIdx.x];
}

FAULTY(fault_barrier_after_exit) {
  if (!fixed && threadIdx.x == 0) return;
  __syncthreads();  // FAULT fault_barrier_after_exit
  out[threadIdx.x] = in[threadIdx.x];
}

FAULTY(fault_lane_not_in_mask) {
  const unsigned mask = fixed ? 0xffffffffu : 0xfffffffeu;
  out[threadIdx.x] = __shfl_sync(mask, in[threadIdx.x], 1);  // FAULT fault_lane_not_in_mask
}

FAULTY(fault_missing_lane) {
  if (fixed || threadIdx.x % 32 != 31) {
    out[threadIdx.x] = __shfl_sync(0xffffffffu, in[threadIdx.x], 0);  // FAULT fault_missing_lane
  } else {
    out[threadIdx.x] = 0;
  }
}

FAULTY(fault_shuffle_from_outside) {
  if (threadIdx.x % 32 < 16) {
    out[threadIdx.x] = __shfl_sync(0xffffu, in[threadIdx.x], fixed ? 3 : 20);  // FAULT fault_shuffle_from_outside
  } else {
    out[threadIdx.x] = 0;
  }
}

FAULTY(fault_divergent_collective) {
  int value = in[threadIdx.x];
  if (fixed || threadIdx.x & 1) {
    value = __shfl_sync(0xffffffffu, value, 0);
  } else {
    value = __shfl_sync(0xffffffffu, value, 0);  // FAULT fault_divergent_collective
  }
  out[threadIdx.x] = value;
}

FAULTY(fault_missing_copy_wait) {
  uint4* const shared = reinterpret_cast<uint4*>(dynamic_smem());
  if (threadIdx.x < 16) {
    cp_async_16(shared_address(shared + threadIdx.x), in + threadIdx.x * 4, 16);
    cp_async_commit();
    if (fixed) cp_async_wait<0>();
    out[threadIdx.x] = shared[threadIdx.x].x;  // FAULT fault_missing_copy_wait
  } else {
    out[threadIdx.x] = 0;
  }
}

FAULTY(fault_copy_wait_too_few) {
  uint4* const shared = reinterpret_cast<uint4*>(dynamic_smem());
  if (threadIdx.x < 8) {
    cp_async_16(shared_address(shared + threadIdx.x), in + threadIdx.x * 4, 16);
    cp_async_commit();
    cp_async_16(shared_address(shared + 8 + threadIdx.x), in + threadIdx.x * 4, 16);
    cp_async_commit();
    if (fixed) cp_async_wait<0>();
    else cp_async_wait<1>();
    out[threadIdx.x] = shared[8 + threadIdx.x].x;  // FAULT fault_copy_wait_too_few
    cp_async_wait<0>();
  } else {
    out[threadIdx.x] = 0;
  }
}

FAULTY(fault_copy_misaligned) {
  uint4* const shared = reinterpret_cast<uint4*>(dynamic_smem());
  const int* const from = in + (fixed ? 4 : 1);
  if (threadIdx.x < 16) cp_async_16(shared_address(shared + threadIdx.x), from, 0);  // FAULT fault_copy_misaligned
  cp_async_commit();
  cp_async_wait<0>();
  out[threadIdx.x] = in[threadIdx.x];
}

FAULTY(fault_copy_wait_is_no_barrier) {
  uint4* const shared = reinterpret_cast<uint4*>(dynamic_smem());
  if (threadIdx.x < 16) {
    cp_async_16(shared_address(shared + threadIdx.x), in + threadIdx.x * 4, 16);
    cp_async_commit();
    cp_async_wait<0>();
  }
  if (fixed) __syncthreads();
  out[threadIdx.x] = reinterpret_cast<const int*>(shared)[threadIdx.x];  // FAULT fault_copy_wait_is_no_barrier
}

FAULTY(fault_array_out_of_bounds) {
  int registers[4] = {};
  for (int i = 0; i < (fixed ? 4 : 5); ++i) registers[i] += in[i];  // FAULT fault_array_out_of_bounds
  out[threadIdx.x] = registers[in[threadIdx.x] % 4];
}

FAULTY(fault_offset_of_null) {
  const int* bias = fixed ? in : in - reinterpret_cast<uintptr_t>(in) / sizeof(int);
  bias += 8 * (blockIdx.x + 1);                         // not null anymore
  out[threadIdx.x] = bias ? bias[threadIdx.x % 8] : 0;  // FAULT fault_offset_of_null
}

FAULTY(fault_division_by_zero) {
  out[threadIdx.x] = 64 / (in[threadIdx.x] + fixed);  // FAULT fault_division_by_zero
}

FAULTY(fault_ldmatrix_unwritten) {
  uint4* const shared = reinterpret_cast<uint4*>(dynamic_smem());
  if (threadIdx.x < 32 && (fixed || threadIdx.x != 7)) shared[threadIdx.x] = make_uint4(1, 2, 3, in[0]);
  __syncthreads();
  uint32_t registers[4];
  ldmatrix_x4(registers, shared_address(shared + threadIdx.x % 32));  // FAULT fault_ldmatrix_unwritten
  out[threadIdx.x] = registers[0];
}
