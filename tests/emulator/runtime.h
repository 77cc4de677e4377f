// Shared by the emulator's own files. One block runs at a time, its threads as fibers on one system thread.
#pragma once
#include <vector_types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernel_api.h"

namespace emulator {

struct Access;

// ---- Kernels (launch.cpp)

struct Kernel {
  std::string name;
  Invoke invoke;
  std::vector<size_t> parameter_sizes;
};
std::map<std::string, Kernel>& kernels();

struct Launch {
  const Kernel* kernel;
  dim3 grid, block;
  size_t dynamic_bytes;
  void* const* arguments;
  const unsigned char* argument_buffer;
  size_t argument_bytes;
  bool overlaps;  // whether the kernel may start before the kernel before it is complete
};

// Runs a kernel to its end. Returns 0, or the CUresult of a faulty kernel, which report() then describes.
int run(const Launch& launch);

// The current launch, or the last one.
const Launch& current_launch();
unsigned block_number();  // of the current block

// Counts an access, a barrier or a collective of a thread. A launch that exceeds the limit is stopped as endless.
void step();
// Sets the limit; 0 means no limit. Returns the steps of the longest launch since the last call.
uint64_t set_step_limit(uint64_t limit);

// The totals of a kernel over all its launches.
struct Counters {
  uint64_t launches, barriers, products, matrix_loads, bank_conflicts, copy_conflicts, bytes_read, bytes_written;
};
Counters& counters();  // of the current kernel
std::map<std::string, Counters>& all_counters();

// ---- Asynchronous copies (async_copy.cpp)

void reset_copies();

// ---- Bulk copies (bulk_copy.cpp)

void reset_bulk_copies();
// Completes a copy that is in flight: its bytes land and the mbarrier counts them. Returns false if no copy is in flight.
bool land_a_bulk_copy();
void maybe_land_a_bulk_copy();      // if the schedule chooses so
std::string pending_bulk_copies();  // the place of a copy in flight, for a report

// ---- Programmatic dependent launch (dependent_launch.cpp)

void reset_dependency();
// Checks an access to global memory that the kernel before may have written.
void check_dependency(const Access& access, bool written_by_previous);
bool has_waited();  // whether a thread of the block has waited, if it must

// ---- Tickets (tickets.cpp)

void set_ticket_limit(unsigned tickets);  // of a block; 0: none
void reset_tickets(bool launch);          // when a block begins, or a launch
// Bracket an atomic operation.
void ticket_begin(void* address, size_t bytes);
void ticket_end();

// ---- Reports (report.cpp)

std::string& report();
std::string describe(Where where);
std::string describe_code(void* program_counter);
const char* base_name(const char* path);

// ---- Fibers (fiber.cpp)

enum class State : uint8_t { kReady, kAtCollective, kAtBarrier, kAtMbarrier, kDone };

struct PendingCopy {
  uint32_t to;
  int group;
  unsigned char data[16];
};

struct Fiber {
  void* stack_pointer;
  State state;
  uint3 index;
  const char* waits_in;
  Where where;
  bool waited;  // for the kernel before
  int copy_group;
  std::vector<PendingCopy> pending;
  // The number of the thread's releases to other threads through mbarriers, and that number before the last __syncwarp. A fence of
  // the async proxy counts as a release: the accesses before the last one have numbers below `fenced`.
  unsigned releases, synced, fenced;
};

struct Warp {
  unsigned lanes, exited, ready, epoch;  // bit masks of lanes; the epoch counts __syncwarp
  // The collective in which some lanes wait.
  const char* name;
  unsigned mask, arrived;
  Collective run;
  Where where;
  void* records[32];
};

std::vector<Fiber>& fibers();
std::vector<Warp>& warps();
int current();     // the running thread of the block
bool in_kernel();  // whether any thread runs
bool on_own_stack(uintptr_t address);
bool on_any_stack(uintptr_t address);
void start_fibers(int count, dim3 block, void (*entry)());
void run_fibers();  // until no fiber is ready, or one has failed
void wait_in(State state, const char* what, Where where);
void make_ready(int thread);
[[noreturn]] void leave_kernel();  // abandons all fibers
bool failed();
int overflowed_stack();  // a thread that has used more than its stack, or -1
void set_schedule(unsigned seed, unsigned preempt);
void maybe_preempt();
unsigned choose(unsigned count);  // a number below count; always 0 in the plain order

// ---- Synchronisation (sync.cpp)

unsigned block_epoch();
void reset_sync();
void thread_exits();
std::string describe_deadlock();
void land_copies();    // lands all copies of the running thread at once
bool in_collective();  // whether a collective runs, in which one lane accesses the records of all

// ---- mbarriers (mbarrier.cpp)

void reset_mbarriers();
bool uses_mbarriers();  // whether the block has initialized one
// Returns whether an mbarrier orders the other thread's accesses before that release, before the running thread. `fenced`: whether
// it did so when the running thread last fenced the async proxy.
bool acquired(int thread, unsigned release, bool fenced = false);
// The same for a thread of an earlier block of the launch, by the announcements for which the running thread has waited.
bool announced(unsigned block, int thread, unsigned release);
void forget_announcements();
void forget_warpgroup_products();
std::string pending_products();  // those of the running thread's warp, for a report

// Begins a bulk copy of so many bytes to an address, which completes at a barrier. The second function completes it and returns
// the phase.
void mbarrier_will_complete(uint32_t barrier, unsigned bytes, uint32_t to, Where where);
unsigned mbarrier_complete(uint32_t barrier, unsigned bytes, Where where);
// Returns whether the bulk copies that completed in a phase are ordered before the running thread, by its own wait or by another's.
bool knows_bulk_copies(uint32_t barrier, unsigned phase);
std::string unseen_bulk_copies();  // the place of a copy for which no thread has waited, for a report
std::string describe_mbarriers();  // what the mbarriers lack at which threads wait, for a report

// ---- Memory (access.cpp, global_memory.cpp, shared_memory.cpp)

void access(uintptr_t address, unsigned bytes, bool write, void* program_counter, Where where, bool atomic = false);

// An access, with what reports need.
struct Access {
  unsigned bytes;
  bool write, atomic;
  void* program_counter;  // null if `where` is set
  Where where;
  const char* verb() const { return write ? "write" : "read"; }
  std::string place() const;
};

bool is_global(uintptr_t address);
void global_access(uintptr_t address, const Access& access);
// Whether some bytes of an allocation were never written. All must be in one.
bool global_is_unwritten(uintptr_t address, unsigned bytes);
uint64_t global_allocate(size_t bytes);
bool global_free(uint64_t address);
// Returns why the host may not copy to or from a range, or null. `need_written`: the host reads the range.
const char* global_problem(uint64_t address, size_t bytes, bool need_written);
void global_written_by_host(uint64_t address, size_t bytes);
size_t global_live_bytes();
std::map<uint64_t, size_t>& global_allocations();
void set_reuse(bool reuse);
void next_launch();

// An access to shared memory: by whom, and in which epochs. `who` is a thread + 1, or one of the constants in shared_memory.cpp.
struct Stamp {
  uint16_t who, atomic;  // no padding: stamps are compared as bytes
  uint32_t block_epoch, warp_epoch, release;
};
Stamp now(bool atomic = false);
// Returns whether an earlier access is ordered before the running thread.
bool ordered(const Stamp& earlier);

bool is_shared(uintptr_t address);
void shared_access(uintptr_t address, const Access& access);
void reset_shared(size_t dynamic_bytes);
unsigned char* shared_pointer(uint32_t address, unsigned bytes, const Access& access);
void mark_in_flight(const unsigned char* at, unsigned bytes);
void mark_landed(const unsigned char* at, unsigned bytes);
// `written`: whether the source was.
void mark_landed_in_bulk(const unsigned char* at, unsigned bytes, uint32_t barrier, unsigned phase, bool written);
void mark_mbarrier(const unsigned char* at);                    // 8 bytes
// Checks the destination of a bulk copy.
void check_box(uint32_t address, unsigned bytes, unsigned alignment, Where where);
// Checks that each thread has fenced the async proxy since its last access to 16 bytes that a bulk copy writes. An mbarrier alone
// does not order them on hardware: a load can still be in flight when its thread arrives there.
void check_fences(const unsigned char* at, Where where);

// Marks 16 bytes that wgmma reads. From the issue until the warp has waited, no thread may write them. After that, only threads that
// are ordered after the wait may.
bool is_written(uint32_t address);  // whether any of 16 bytes of shared memory has been written
// Whether a bulk copy has brought 16 bytes from memory that was never written.
bool is_unwritten_copy(uint32_t address);
void async_read_begins(uint32_t address, Where where);
void async_read_ends(uint32_t address);

// Whether the kernels are built with hooks. Without hooks accesses are not checked.
bool checked();

}  // namespace emulator
