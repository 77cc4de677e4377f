// All inline PTX. Kernels include this file in angle brackets, so that a build for another machine can replace it.
// Addresses in shared memory have 32 bits, as the instructions require.
//
// Names and semantics: PTX ISA 9.0. The comment of each function names the section.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

namespace yamoe {

// The block's dynamic shared memory.
__device__ __forceinline__ unsigned char* dynamic_smem() {
  extern __shared__ __align__(1024) unsigned char smem[];
  return smem;
}

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// "cp.async": copies 16 bytes from global to shared memory, bypassing L1. Only the first `bytes` bytes are read, and
// the others become zeros; on sm_75 `bytes` must be 0 or 16. The copy is complete after cp_async_wait. Before sm_80 it
// goes through registers and is complete at once.
__device__ __forceinline__ void cp_async_16(uint32_t to, const void* from, int bytes) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
#else
  const uint4 v = bytes ? *static_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
#endif
}

// "cp.async.commit_group"
__device__ __forceinline__ void cp_async_commit() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// "cp.async.wait_group": waits until at most kPending of the thread's groups are pending.
template <int kPending>
__device__ __forceinline__ void cp_async_wait() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

// "ldmatrix": loads four 8x8 matrices of 16-bit elements. Lane l provides the address of row l % 8 of matrix l / 8.
// From each matrix it receives the elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&out)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}

// The same with each matrix transposed.
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&out)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}

// "movmatrix": transposes an 8x8 matrix of 16-bit elements. Lane l has the elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4.
__device__ __forceinline__ uint32_t transpose_8x8(uint32_t pair) {
  uint32_t transposed;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(transposed) : "r"(pair));
  return transposed;
}

// "mma.sync", "Matrix Fragments for mma.m16n8k16 with floating point type": c += a b with f32 sums.
template <class T>
__device__ __forceinline__ void mma_m16n8k16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

template <>
__device__ __forceinline__ void mma_m16n8k16<__half>(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  // sm_75 multiplies half the depth at a time.
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(b[0]));
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[2]), "r"(a[3]), "r"(b[1]));
#endif
}

#if __CUDA_ARCH__ >= 800  // older tensor cores do not support bf16
template <>
__device__ __forceinline__ void mma_m16n8k16<__nv_bfloat16>(float (&c)[4], const uint32_t (&a)[4],
                                                            const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

// The compiler does not move loads and stores across this. Otherwise a long epilogue would begin with all its loads,
// and they would fill the registers.
__device__ __forceinline__ void keep_order() { asm volatile("" ::: "memory"); }

// "ex2", "rcp": 2^x and 1 / x with an error of up to two units in the last place. Subnormal numbers are flushed to
// zero.
__device__ __forceinline__ float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float fast_reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// "min", "max" with .NaN: the result is NaN if an operand is.
__device__ __forceinline__ float min_or_nan(float x, float y) {
#if __CUDA_ARCH__ >= 800
  float minimum;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(minimum) : "f"(x), "f"(y));
  return minimum;
#else
  return x > y ? y : x;
#endif
}
__device__ __forceinline__ float max_or_nan(float x, float y) {
#if __CUDA_ARCH__ >= 800
  float maximum;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(maximum) : "f"(x), "f"(y));
  return maximum;
#else
  return x < y ? y : x;
#endif
}

// "redux.sync": the largest and the smallest of the warp's numbers.
__device__ __forceinline__ unsigned warp_max(unsigned value) {
#if __CUDA_ARCH__ >= 800
  return __reduce_max_sync(0xffffffffu, value);
#else
  for (int bits = 16; bits > 0; bits /= 2) value = max(value, __shfl_xor_sync(0xffffffffu, value, bits));
  return value;
#endif
}
__device__ __forceinline__ int warp_min(int value) {
#if __CUDA_ARCH__ >= 800
  return __reduce_min_sync(0xffffffffu, value);
#else
  for (int bits = 16; bits > 0; bits /= 2) value = min(value, __shfl_xor_sync(0xffffffffu, value, bits));
  return value;
#endif
}

// "Cache Operators", .cs: data that is used once and is evicted from the caches first.
__device__ __forceinline__ uint4 load_streaming_16(const void* from) { return __ldcs(static_cast<const uint4*>(from)); }
__device__ __forceinline__ void store_streaming_16(void* to, uint4 value) { __stcs(static_cast<uint4*>(to), value); }

// "griddepcontrol": programmatic dependent launch. From sm_90, a kernel that waits may start when every block of the kernel
// before it has called allow_next_kernel() or has ended. wait_for_previous_kernel() returns when that kernel is complete
// and its writes are visible. A kernel that does not wait starts when the kernel before it is complete: products of many
// tiles are such kernels, because an early start would place their blocks unevenly. The rule of kernels that wait:
//
// - Each thread waits before it reads what a kernel may have written, and before its first write to global memory.
// - Blocks allow the next kernel after a wait, never before it. So when a kernel starts, all kernels except for the one
//   before it are complete, and it needs to wait only for what that one reads or writes. A block without work waits too.
// - Before the wait, a kernel may load what the kernel before it does not write, such as weights. Before it loads what an
//   older kernel of the same call has written, it calls see_older_kernels().
__device__ __forceinline__ void wait_for_previous_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void allow_next_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// "fence.acq_rel": later loads of this thread do not find stale data in L1.
__device__ __forceinline__ void see_older_kernels() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }

// For kernels that have nothing to do before the wait.
__device__ __forceinline__ void follow_previous_kernel() {
  wait_for_previous_kernel();
  allow_next_kernel();
}

// "ld.relaxed.sys", and "%globaltimer" in nanoseconds: waits until another processor has written at least `value`, but not
// longer than a number of microseconds.
__device__ __forceinline__ void wait_for_flag(const int* flag, int value, int microseconds) {
  unsigned long long now, start;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(start));
  int seen;
  do {
    asm volatile("ld.relaxed.sys.global.s32 %0, [%1];" : "=r"(seen) : "l"(flag) : "memory");
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  } while (seen < value && now - start < microseconds * 1000ull);
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// "mbarrier": init, arrive, try_wait.parity. A phase completes after `arrivals` arrivals. A wait for a parity returns
// when the phase with that parity is complete.
__device__ __forceinline__ void mbarrier_init(uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void mbarrier_arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
__device__ __forceinline__ void mbarrier_wait(uint32_t barrier, uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

// A tensor in global memory and the boxes in which it is copied, as the driver encodes them. It must be in a
// `const __grid_constant__` parameter, because the copies need its address there.
struct alignas(64) TensorMap {
  unsigned char bits[128];
};

// "mbarrier.arrive.expect_tx": arrives, and the phase does not complete before this many more bytes are copied.
__device__ __forceinline__ void mbarrier_arrive_expecting(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

// "cp.async.bulk.tensor": copies a box of the tensor to shared memory. It begins at the given coordinates, the
// innermost first. Elements outside of the tensor become zeros. One thread issues the copy. The async proxy writes the
// box, as wgmma reads it, and counts its bytes at the barrier.
__device__ __forceinline__ void bulk_copy_4d(uint32_t to, const TensorMap& map, uint32_t barrier, int c0, int c1,
                                             int c2, int c3) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
      : "memory");
}

// "cp.async.bulk": copies consecutive bytes to shared memory; both addresses and the size are multiples of 16. One thread
// issues the copy, and its bytes count at the barrier.
__device__ __forceinline__ void bulk_copy(uint32_t to, const void* from, uint32_t bytes, uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to), "l"(from),
      "r"(bytes), "r"(barrier)
      : "memory");
}

// "prefetch.tensormap": the first copy then does not wait for the map.
__device__ __forceinline__ void prefetch_tensor_map(const TensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// "cp.async.mbarrier.arrive": arrives for this thread when all copies that it has begun are complete.
__device__ __forceinline__ void cp_async_arrive(uint32_t barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

// "membar / fence": makes this thread's writes and the mbarriers that it has initialized visible to wgmma and bulk
// copies, which access shared memory through the async proxy.
__device__ __forceinline__ void fence_async_proxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// "setmaxnreg", executed by a whole warpgroup.
template <int kRegisters>
__device__ __forceinline__ void set_fewer_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void set_more_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

#endif

}  // namespace yamoe
