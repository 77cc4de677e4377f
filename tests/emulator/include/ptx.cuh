// The emulated twin of cuda/ptx.cuh: the same functions, without PTX.
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

template <class T>
void mma_m16n8k16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Where where = Where::here()) {
  emulator::multiply_add(c, a, b, std::is_same_v<T, __half> ? emulator::widen_f16 : emulator::widen_bf16, where);
}

inline uint4 load_streaming_16(const void* from) { return *static_cast<const uint4*>(from); }
inline void store_streaming_16(void* to, uint4 value) { *static_cast<uint4*>(to) = value; }

}  // namespace yamoe
