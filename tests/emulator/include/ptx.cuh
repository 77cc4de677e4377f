// The emulated counterpart of cuda/ptx.cuh: the same functions without PTX.
#pragma once
#include <cstdint>

namespace yamoe {

using emulator::Where;

inline unsigned char* dynamic_smem() { return emulator::dynamic_shared(); }
inline uint32_t shared_address(const void* pointer) { return emulator::shared_address(pointer); }

inline void cp_async_16(uint32_t to, const void* from, int bytes, Where where = Where::here()) {
  emulator::copy_async(to, from, bytes, where);
}
inline void cp_async_commit() { emulator::copy_async_commit(); }
template <int kPending>
void cp_async_wait() {
  emulator::copy_async_wait(kPending);
}

inline void ldmatrix_x4(uint32_t (&out)[4], uint32_t address, Where where = Where::here()) {
  emulator::load_matrices(out, address, false, where);
}
inline void ldmatrix_x4_trans(uint32_t (&out)[4], uint32_t address, Where where = Where::here()) {
  emulator::load_matrices(out, address, true, where);
}

inline uint32_t transpose_8x8(uint32_t pair) {
  const int row = threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
  const uint32_t low = __shfl_sync(0xffffffffu, pair, column * 4 + row / 2);
  const uint32_t high = __shfl_sync(0xffffffffu, pair, column * 4 + 4 + row / 2);
  return (low >> row % 2 * 16 & 0xffff) | high >> row % 2 * 16 << 16;
}

template <class T>
void mma_m16n8k16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Where where = Where::here()) {
  emulator::multiply_add(c, a, b, std::is_same_v<T, __half> ? emulator::widen_f16 : emulator::widen_bf16, where);
}

inline void keep_order() {}

inline float fast_exp2(float x) { return exp2f(x); }
inline float fast_reciprocal(float x) { return 1.0f / x; }
inline float min_or_nan(float x, float y) { return x > y ? y : x; }
inline float max_or_nan(float x, float y) { return x < y ? y : x; }

inline unsigned warp_max(unsigned value) {
  for (int bits = 16; bits > 0; bits /= 2) value = std::max(value, __shfl_xor_sync(0xffffffffu, value, bits));
  return value;
}
inline int warp_min(int value) {
  for (int bits = 16; bits > 0; bits /= 2) value = std::min(value, __shfl_xor_sync(0xffffffffu, value, bits));
  return value;
}
inline uint4 load_streaming_16(const void* from) { return *static_cast<const uint4*>(from); }
inline void store_streaming_16(void* to, uint4 value) { *static_cast<uint4*>(to) = value; }

inline void wait_for_previous_kernel() { emulator::wait_for_previous_kernel(); }
inline void allow_next_kernel(Where where = Where::here()) { emulator::allow_next_kernel(where); }
inline void see_older_kernels() {}
inline void follow_previous_kernel() {
  wait_for_previous_kernel();
  allow_next_kernel();
}
// Work runs when it is queued, so the host can write the flag only when the kernel has ended.
inline void wait_for_flag(const int* flag, int value, int microseconds) {}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

inline void mbarrier_init(uint32_t barrier, int arrivals, Where where = Where::here()) {
  emulator::mbarrier_init(barrier, arrivals, where);
}
inline void mbarrier_arrive(uint32_t barrier, Where where = Where::here()) {
  emulator::mbarrier_arrive(barrier, where);
}
inline void mbarrier_arrive_expecting(uint32_t barrier, uint32_t bytes, Where where = Where::here()) {
  emulator::mbarrier_arrive_expecting(barrier, bytes, where);
}
inline void mbarrier_wait(uint32_t barrier, uint32_t parity, Where where = Where::here()) {
  emulator::mbarrier_wait(barrier, parity, where);
}

struct alignas(64) TensorMap {
  unsigned char bits[128];

  TensorMap(const TensorMap& other) { emulator::copy_tensor_map(bits, other.bits); }
};
inline void bulk_copy_4d(uint32_t to, const TensorMap& map, uint32_t barrier, int c0, int c1, int c2, int c3,
                         Where where = Where::here()) {
  emulator::bulk_copy(to, &map, barrier, {c0, c1, c2, c3}, where);
}
inline void bulk_copy(uint32_t to, const void* from, uint32_t bytes, uint32_t barrier, Where where = Where::here()) {
  emulator::bulk_copy_1d(to, from, bytes, barrier, where);
}
inline void prefetch_tensor_map(const TensorMap& map, Where where = Where::here()) {
  emulator::prefetch_tensor_map(&map, where);
}

inline void cp_async_arrive(uint32_t barrier, Where where = Where::here()) {
  emulator::copy_async_arrive(barrier, where);
}
inline void fence_async_proxy() { emulator::fence_async_proxy(); }

template <int kRegisters>
void set_fewer_registers() {}
template <int kRegisters>
void set_more_registers() {}

#endif

}  // namespace yamoe
