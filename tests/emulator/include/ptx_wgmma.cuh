// The emulated counterpart of cuda/ptx_wgmma.cuh: the same functions without PTX.
#pragma once
#include <ptx.cuh>

namespace yamoe {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

inline uint64_t wgmma_descriptor(uint32_t address) {
  return static_cast<uint64_t>(address >> 4 & 0x3fff) | static_cast<uint64_t>(8 * 128 >> 4) << 32 | 1ull << 62;
}

inline void wgmma_fence() {}
inline void wgmma_commit(Where where = Where::here()) { emulator::wgmma_commit(where); }
template <int kPending>
void wgmma_wait_groups(Where where = Where::here()) {
  emulator::wgmma_wait(kPending, where);
}
template <int kTiles>
void sums_are_complete(float (*)[4]) {}

template <class T, int kTiles>
void wgmma_registers(float (&c)[kTiles][4], const uint32_t* a, uint64_t b, Where where = Where::here()) {
  emulator::wgmma(
      {&c[0][0], kTiles, 0, b, false, std::is_same_v<T, __half> ? emulator::widen_f16 : emulator::widen_bf16, a},
      where);
}
template <class T, bool kAcross, int kTiles>
void wgmma_shared(float (*c)[4], uint64_t a, uint64_t b, Where where = Where::here()) {
  emulator::wgmma(
      {&c[0][0], kTiles, a, b, kAcross, std::is_same_v<T, __half> ? emulator::widen_f16 : emulator::widen_bf16}, where);
}

#endif

}  // namespace yamoe
