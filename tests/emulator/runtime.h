// What the emulator's own files share. One block runs at a time, its threads as fibers on one system thread.
#pragma once
#include <vector_types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernel_api.h"

namespace emulator {

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
};

// Runs a kernel to its end. Returns 0, or the CUresult that the faulty kernel leaves behind; report() says what happened.
int run(const Launch& launch);

// The launch that runs, or ran last.
const Launch& current_launch();

// A thread's access, barrier or collective. A launch with more than `limit` of them is taken for one that never ends.
void step();
// Sets the limit, 0 for none. Returns the steps of the longest launch since the last time.
uint64_t set_step_limit(uint64_t limit);

// What a kernel has done, over all its launches.
struct Counters {
  uint64_t launches, barriers, products, matrix_loads, bank_conflicts, copy_conflicts, bytes_read, bytes_written;
};
Counters& counters();  // of the kernel that runs
std::map<std::string, Counters>& all_counters();

// ---- Asynchronous copies (async_copy.cpp)

void reset_copies();

// ---- Bulk copies (bulk_copy.cpp)

void reset_bulk_copies();
// Ends one that is under way: its bytes are there, and counted off. False if there is none.
bool land_a_bulk_copy();
void maybe_land_a_bulk_copy();      // at a moment that the schedule chooses
std::string pending_bulk_copies();  // the place of one that is under way, for a report

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
  int copy_group;
  unsigned copies;  // so far
  std::vector<PendingCopy> pending;
  // How often the thread has told others, by an mbarrier, what it has done; and before __syncwarp told its warp.
  unsigned releases, synced;
};

struct Warp {
  unsigned lanes, exited, ready, epoch;  // bit masks of lanes; the epoch counts __syncwarp
  // The collective that some lanes wait in.
  const char* name;
  unsigned mask, arrived;
  Collective run;
  Where where;
  void* records[32];
};

std::vector<Fiber>& fibers();
std::vector<Warp>& warps();
int current();     // the running thread of the block
bool in_kernel();  // whether a thread runs at all
bool on_own_stack(uintptr_t address);
bool on_any_stack(uintptr_t address);
void start_fibers(int count, dim3 block, void (*entry)());
void run_fibers();  // until none is ready or one has failed
void wait_in(State state, const char* what, Where where);
void make_ready(int thread);
[[noreturn]] void leave_kernel();  // abandons all fibers
bool failed();
void set_schedule(unsigned seed, unsigned preempt);
void maybe_preempt();
unsigned choose(unsigned count);  // one of so many: 0 in the plain order

// ---- Synchronisation (sync.cpp)

unsigned block_epoch();
void reset_sync();
void thread_exits();
std::string describe_deadlock();
void land_copies();    // all of the running thread, at once
bool in_collective();  // a collective runs: one lane touches what all have brought

// ---- mbarriers (mbarrier.cpp)

void reset_mbarriers();
// Whether the running thread knows by an mbarrier what another had done before its release of that number. `fenced`: knew it when
// it fenced the async proxy last.
bool acquired(int thread, unsigned release, bool fenced = false);
void forget_warpgroup_products();
std::string pending_products();  // of the running thread's warp, for a report

// A bulk copy of so many bytes to an address is issued, that will end at a barrier; and ends, in the phase that is returned.
void mbarrier_will_complete(uint32_t barrier, unsigned bytes, uint32_t to, Where where);
unsigned mbarrier_complete(uint32_t barrier, unsigned bytes, Where where);
// Whether the running thread knows of the bulk copies that ended in a phase, by its own wait or by that of another.
bool knows_bulk_copies(uint32_t barrier, unsigned phase);
std::string unseen_bulk_copies();  // the place of one that nobody has waited for, for a report
std::string describe_mbarriers();  // what those lack that threads wait at, for a report

// ---- Memory (access.cpp, global_memory.cpp, shared_memory.cpp)

void access(uintptr_t address, unsigned bytes, bool write, void* program_counter, Where where, bool atomic = false);

// What an access is, for reports.
struct Access {
  unsigned bytes;
  bool write, atomic;
  void* program_counter;  // null where `where` says it
  Where where;
  const char* verb() const { return write ? "write" : "read"; }
  std::string place() const;
};

bool is_global(uintptr_t address);
void global_access(uintptr_t address, const Access& access);
uint64_t global_allocate(size_t bytes);
bool global_free(uint64_t address);
// Why the host may not copy to or from a range, or null. `need_written`: the range will be read.
const char* global_problem(uint64_t address, size_t bytes, bool need_written);
void global_written_by_host(uint64_t address, size_t bytes);
size_t global_live_bytes();
std::map<uint64_t, size_t>& global_allocations();
void set_reuse(bool reuse);
void next_launch();

// An access to shared memory: who, and in which epochs. `who` is a thread + 1, or one of what shared_memory.cpp names.
struct Stamp {
  uint16_t who;
  bool atomic;
  uint32_t block_epoch, warp_epoch, release;
};
Stamp now(bool atomic = false);
// Whether something orders an earlier access before the present moment of the running thread.
bool ordered(const Stamp& earlier);

bool is_shared(uintptr_t address);
void shared_access(uintptr_t address, const Access& access);
void reset_shared(size_t dynamic_bytes);
unsigned char* shared_pointer(uint32_t address, unsigned bytes, const Access& access);
void mark_in_flight(const unsigned char* at, unsigned bytes);
void mark_landed(const unsigned char* at, unsigned bytes);
void mark_landed_in_bulk(const unsigned char* at, unsigned bytes, uint32_t barrier, unsigned phase);
void mark_mbarrier(const unsigned char* at);                    // 8 bytes
void check_box(uint32_t address, unsigned bytes, Where where);  // that a bulk copy may go there

// What wgmma reads, 16 bytes at once: from its issue until the warp has waited for it nobody may write there, and after that who
// knows of it.
void async_read_begins(uint32_t address, Where where);
void async_read_ends(uint32_t address);

// Whether the build checks accesses. Without the hooks only the arithmetic is emulated.
bool checked();

}  // namespace emulator
