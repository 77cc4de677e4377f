// The interface between kernel code and the emulator. Every kernel file includes it and is compiled with a hook before each
// load and store. The functions that this header declares have no hooks.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace emulator {

// A place in a kernel's source. As a default argument it is the place of the call.
struct Where {
  const char* file;
  int line;
  static constexpr Where here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

// The calling thread's lane in its warp.
int lane();

// Stops the kernel with a report that names the calling thread.
[[noreturn]] void fault(int code, Where where, const char* format, ...) __attribute__((format(printf, 3, 4)));

// Synchronisation. Only these order memory.
void sync_block(Where where);
void sync_warp(unsigned mask, Where where);

// A collective operation of a warp. Each lane of `mask` passes a record. The last lane to arrive calls `run` with all 32 records;
// those of lanes outside the mask are null.
using Collective = void (*)(void** records, unsigned mask, Where where);
void collective(const char* name, unsigned mask, void* record, Collective run, Where where);

// Brackets the accesses of an atomic operation, which race only with ordinary accesses.
void atomic_begin(const void* address, size_t bytes, Where where);
void atomic_end();

// Shared memory. Addresses have 32 bits, as on the device: offsets in the block's window.
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

// Hopper's barriers in shared memory. A phase completes when all arrivals have happened. A wait for a parity returns when the phase
// of that parity has completed.
void mbarrier_init(uint32_t barrier, int arrivals, Where where);
void mbarrier_arrive(uint32_t barrier, Where where);
void mbarrier_arrive_expecting(uint32_t barrier, uint32_t bytes, Where where);
void mbarrier_wait(uint32_t barrier, unsigned parity, Where where);
void copy_async_arrive(uint32_t barrier, Where where);
void fence_async_proxy();

// Hopper's bulk copies of a box of a tensor. `map` points to the 128 bytes that the driver has encoded.
void bulk_copy(uint32_t to, const void* map, uint32_t barrier, std::initializer_list<int> coordinates, Where where);
// The same of consecutive bytes.
void bulk_copy_1d(uint32_t to, const void* from, uint32_t bytes, uint32_t barrier, Where where);
void prefetch_tensor_map(const void* map, Where where);
void copy_tensor_map(void* to, const void* from);

// Hopper's products of a warpgroup: c += a b. Each warp has 16 rows. c has the layout of mma for each 8 columns.
struct Wgmma {
  float* c;
  int tiles;  // of 8 columns each
  uint64_t a, b;
  bool across;  // whether the rows of a in shared memory run across the depth
  Widen widen;
  const uint32_t* registers = nullptr;  // the lane's four registers of a, instead of the descriptor
};
void wgmma(const Wgmma& product, Where where);
void wgmma_commit(Where where);
void wgmma_wait(int pending, Where where);

// Programmatic dependent launch.
void wait_for_previous_kernel();
void allow_next_kernel(Where where);

// Counters in global memory that order warps and blocks. Blocks run one after the other.
void announce(int* counter, Where where);
void wait_for_announcements(const int* counter, int count, Where where);

// A registered kernel: how to call it, and the sizes of its parameters.
using Invoke = void (*)(void* const* arguments);
void register_kernel(const char* name, Invoke invoke, const size_t* sizes, size_t count);

}  // namespace emulator
