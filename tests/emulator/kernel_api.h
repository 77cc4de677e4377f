// What kernel code reaches the emulator by. Included into every kernel file, which is compiled with a hook in front of each
// load and store; the functions behind this header are not.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace emulator {

// A place in a kernel's source. As a default argument it is where the call stands.
struct Where {
  const char* file;
  int line;
  static constexpr Where here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

// The calling thread's lane in its warp.
int lane();

// Ends the kernel with a report, in the name of the calling thread.
[[noreturn]] void fault(int code, Where where, const char* format, ...) __attribute__((format(printf, 3, 4)));

// Synchronisation. Only these order memory.
void sync_block(Where where);
void sync_warp(unsigned mask, Where where);

// A warp's collective: each lane of `mask` brings a record, the last to come runs `run` over all 32; records of lanes that are
// not in the mask are null.
using Collective = void (*)(void** records, unsigned mask, Where where);
void collective(const char* name, unsigned mask, void* record, Collective run, Where where);

// Brackets the accesses of an atomic operation: they race with ordinary ones only.
void atomic_begin(const void* address, size_t bytes, Where where);
void atomic_end();

// Shared memory. Addresses are 32-bit, as on the device: offsets into the block's window.
unsigned char* dynamic_shared();
uint32_t shared_address(const void* pointer);
void copy_async(uint32_t to, const void* from, int bytes, Where where);
void copy_async_commit();
void copy_async_wait(int pending);

// Matrices: four 8x8 of 16-bit elements, and a 16x8 += 16x16 by 16x8 product.
void load_matrices(uint32_t (&out)[4], uint32_t address, bool transpose, Where where);
using Widen = float (*)(uint16_t bits);
float widen_f16(uint16_t bits);
float widen_bf16(uint16_t bits);
void multiply_add(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Widen widen, Where where);

// Hopper's barriers in shared memory: a phase ends when all arrivals have come, and a wait for a parity when the phase of that
// parity has ended.
void mbarrier_init(uint32_t barrier, int arrivals, Where where);
void mbarrier_arrive(uint32_t barrier, Where where);
void mbarrier_arrive_expecting(uint32_t barrier, uint32_t bytes, Where where);
void mbarrier_wait(uint32_t barrier, unsigned parity, Where where);
void copy_async_arrive(uint32_t barrier, Where where);
void fence_async_proxy();

// Hopper's bulk copies of a box of a tensor, which `map` describes as the driver has encoded it; 128 bytes.
void bulk_copy(uint32_t to, const void* map, uint32_t barrier, std::initializer_list<int> coordinates, Where where);
void prefetch_tensor_map(const void* map, Where where);
void copy_tensor_map(void* to, const void* from);

// Hopper's products of a warpgroup, of which each warp has 16 rows: c, in mma's layout for each 8 columns, += a b.
struct Wgmma {
  float* c;
  int tiles;  // of 8 columns
  uint64_t a, b;
  bool across, add;
  Widen widen;
};
void wgmma(const Wgmma& product, Where where);
void wgmma_commit(Where where);
void wgmma_wait(int pending, Where where);

// A kernel as the launcher knows it: how to call it, and the sizes of its parameters.
using Invoke = void (*)(void* const* arguments);
void register_kernel(const char* name, Invoke invoke, const size_t* sizes, size_t count);

}  // namespace emulator
