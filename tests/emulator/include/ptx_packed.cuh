// The emulated counterpart of cuda/ptx_packed.cuh: the same functions without PTX.
#pragma once
#include <ptx_wgmma.cuh>

namespace yamoe {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// These loads are ordinary accesses, so the hooks check them.
template <class T>
T load_shared(uint32_t from) {
  unsigned char* const base = dynamic_smem();
  return *reinterpret_cast<const T*>(base + (from - shared_address(base)));
}
inline uint4 load_shared_16(uint32_t from) { return load_shared<uint4>(from); }
inline uint2 load_shared_8(uint32_t from) { return load_shared<uint2>(from); }
inline uint32_t load_shared_4(uint32_t from) { return load_shared<uint32_t>(from); }
inline uint32_t load_shared_2(uint32_t from) { return load_shared<uint16_t>(from); }

// Applies a function to both pairs of 16-bit elements, in f32, and rounds once.
template <class T, class Function>
uint32_t map_pairs(uint32_t x, uint32_t y, const Function& function) {
  const auto widen = std::is_same_v<T, __half> ? emulator::widen_f16 : emulator::widen_bf16;
  uint32_t result = 0;
  for (int half = 0; half < 2; ++half) {
    const float value =
        function(widen(static_cast<uint16_t>(x >> half * 16)), widen(static_cast<uint16_t>(y >> half * 16)));
    uint16_t bits;
    if constexpr (std::is_same_v<T, __half>) {
      const __half narrow = __float2half_rn(value);
      memcpy(&bits, &narrow, sizeof bits);
    } else {
      const __nv_bfloat16 narrow = __float2bfloat16_rn(value);
      memcpy(&bits, &narrow, sizeof bits);
    }
    result |= static_cast<uint32_t>(bits) << half * 16;
  }
  return result;
}
template <class T>
uint32_t multiply_pairs(uint32_t x, uint32_t y) {
  return map_pairs<T>(x, y, [](float a, float b) { return a * b; });
}
template <class T>
uint32_t clamp_pairs(uint32_t x, uint32_t limit) {
  return map_pairs<T>(x, limit, [](float a, float b) { return std::fmax(std::fmin(a, b), -b); });
}
inline uint32_t repeat_half(uint32_t x, bool high) {
  return (high ? x >> 16 : x & 0xffff) * 0x10001;
}
// Rounds a sum in f64 to f32 such that a second rounding gives what one would: to an odd last bit if it is not exact.
inline float round_to_odd(double exact) {
  float value = static_cast<float>(exact);
  if (value == exact) return value;
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  if (std::fabs(static_cast<double>(value)) > std::fabs(exact)) --bits;
  bits |= 1;
  memcpy(&value, &bits, sizeof bits);
  return value;
}
template <class T>
uint32_t multiply_add_pairs(uint32_t x, uint32_t y, uint32_t z) {
  const auto widen = std::is_same_v<T, __half> ? emulator::widen_f16 : emulator::widen_bf16;
  int half = 0;
  return map_pairs<T>(x, y, [&](float a, float b) {
    return round_to_odd(static_cast<double>(a) * b + widen(static_cast<uint16_t>(z >> 16 * half++)));
  });
}

inline float2 widen_f16_pair(uint32_t pair) {
  return {emulator::widen_f16(static_cast<uint16_t>(pair)), emulator::widen_f16(static_cast<uint16_t>(pair >> 16))};
}
inline uint32_t widen_e4m3_pair(uint16_t pair) {
  const auto widen = [](uint32_t bits) {  // to f16: the exponent of f16 has a bias of 15, that of E4M3 7
    if ((bits & 0x7f) == 0x7f) return 0x7fffu;
    const int exponent = bits >> 3 & 15, mantissa = bits & 7;
    const uint32_t sign = (bits & 0x80) << 8;
    if (exponent) return sign | (exponent + 8) << 10 | mantissa << 7;
    if (!mantissa) return sign;
    const int shift = mantissa >= 4 ? 1 : mantissa >= 2 ? 2 : 3;  // to the leading bit
    return sign | (9 - shift) << 10 | (mantissa << (7 + shift) & 0x3ff);
  };
  return widen(pair & 0xff) | widen(pair >> 8) << 16;
}

#endif

}  // namespace yamoe
