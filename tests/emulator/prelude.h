// Included before every kernel file, so that an ordinary compiler accepts CUDA C++. Types and conversions come from CUDA's own
// headers. This file defines what those headers leave to nvcc.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <vector_functions.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <tuple>
#include <utility>

#include "kernel_api.h"

#define __launch_bounds__(...)
#undef __grid_constant__
#define __grid_constant__
#undef __global__
#define __global__ __attribute__((annotate("emulated kernel")))  // by which the build finds kernels
// Compilers ignore the section in templates, so static shared memory is allowed in plain functions only.
#undef __shared__
#define __shared__ static __attribute__((section("emulator_shared")))

// Updated at every switch to another thread.
extern "C" {
extern uint3 emulator_thread, emulator_block;
extern dim3 emulator_block_size, emulator_grid_size;
}
#define threadIdx emulator_thread
#define blockIdx emulator_block
#define blockDim emulator_block_size
#define gridDim emulator_grid_size

using emulator::Where;
using std::max;
using std::min;

inline void __syncthreads(Where where = Where::here()) { emulator::sync_block(where); }
inline void __syncwarp(unsigned mask = 0xffffffffu, Where where = Where::here()) { emulator::sync_warp(mask, where); }

// Shuffles: every lane passes a value and receives the value of another lane.
namespace emulator {
template <class T>
struct ShuffleRecord {
  T value, result;
  int source;
};

template <class T>
T shuffle(unsigned mask, T value, int source, Where where) {
  ShuffleRecord<T> record{value, value, source};
  collective(
      "__shfl_sync", mask, &record,
      [](void** records, unsigned mask, Where where) {
        for (int l = 0; l < 32; ++l) {
          if (!records[l]) continue;
          auto* mine = static_cast<ShuffleRecord<T>*>(records[l]);
          auto* other = static_cast<ShuffleRecord<T>*>(records[mine->source & 31]);
          if (!other)
            fault(719, where, "a shuffle reads lane %d, which is not in the mask %08x", mine->source & 31, mask);
          mine->result = other->value;
        }
      },
      where);
  return record.result;
}

struct VoteRecord {
  long long value;
  unsigned result;
};
}  // namespace emulator

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, Where where = Where::here()) {
  const int first = emulator::lane() & ~(width - 1);
  return emulator::shuffle(mask, value, first | (source & (width - 1)), where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32, Where where = Where::here()) {
  const int lane = emulator::lane(), source = lane - static_cast<int>(distance);
  return emulator::shuffle(mask, value, source < (lane & ~(width - 1)) ? lane : source, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32, Where where = Where::here()) {
  const int lane = emulator::lane(), source = lane + static_cast<int>(distance);
  return emulator::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source, where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, Where where = Where::here()) {
  const int lane = emulator::lane(), source = lane ^ bits;
  return emulator::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source, where);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, Where where = Where::here()) {
  emulator::VoteRecord record{predicate != 0, 0};
  emulator::collective(
      "__ballot_sync", mask, &record,
      [](void** records, unsigned, Where) {
        unsigned ballot = 0;
        for (int l = 0; l < 32; ++l)
          ballot |= records[l] && static_cast<emulator::VoteRecord*>(records[l])->value ? 1u << l : 0;
        for (int l = 0; l < 32; ++l) {
          if (records[l]) static_cast<emulator::VoteRecord*>(records[l])->result = ballot;
        }
      },
      where);
  return record.result;
}

inline unsigned __match_any_sync(unsigned mask, int value, Where where = Where::here()) {
  emulator::VoteRecord record{value, 0};
  emulator::collective(
      "__match_any_sync", mask, &record,
      [](void** records, unsigned, Where) {
        for (int l = 0; l < 32; ++l) {
          auto* mine = static_cast<emulator::VoteRecord*>(records[l]);
          if (!mine) continue;
          for (int m = 0; m < 32; ++m) {
            if (records[m] && static_cast<emulator::VoteRecord*>(records[m])->value == mine->value)
              mine->result |= 1u << m;
          }
        }
      },
      where);
  return record.result;
}

template <class T>
T atomicAdd(T* address, std::common_type_t<T> value, Where where = Where::here()) {
  emulator::atomic_begin(address, sizeof(T), where);
  const T old = *address;
  *address = old + value;
  emulator::atomic_end();
  return old;
}
template <class T>
T atomicMax(T* address, std::common_type_t<T> value, Where where = Where::here()) {
  emulator::atomic_begin(address, sizeof(T), where);
  const T old = *address;
  *address = std::max(old, value);
  emulator::atomic_end();
  return old;
}

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __clz(int bits) { return bits ? __builtin_clz(bits) : 32; }
// The device approximates these functions to a few units in the last place. Here they are correctly rounded, or nearly so.
inline float __expf(float x) { return std::exp(x); }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdividef(float x, float y) { return x / y; }
inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const uint64_t bytes = static_cast<uint64_t>(y) << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) result |= static_cast<unsigned>(bytes >> (selector >> 4 * i & 7) * 8 & 0xff) << 8 * i;
  return result;
}
template <class T>
T __ldcg(const T* address) {
  return *address;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) << (shift & 31) >> 32);
}
inline unsigned __vmaxu2(unsigned x, unsigned y) {
  return std::max(x >> 16, y >> 16) << 16 | std::max(x & 0xffff, y & 0xffff);
}

namespace emulator {
template <auto Kernel>
struct Entry;
template <class... Parameters, void (*Kernel)(Parameters...)>
struct Entry<Kernel> {
  static constexpr size_t count = sizeof...(Parameters);
  static constexpr size_t sizes[count + 1] = {sizeof(Parameters)..., 0};
  static void invoke(void* const* arguments) { call(arguments, std::make_index_sequence<count>{}); }
  template <size_t... I>
  static void call(void* const* arguments, std::index_sequence<I...>) {
    Kernel(*static_cast<const std::tuple_element_t<I, std::tuple<Parameters...>>*>(arguments[I])...);
  }
};
}  // namespace emulator
