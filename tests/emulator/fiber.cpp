// Fibers. Each thread of a block has its own stack and runs until it waits. The order of the threads depends only on the seed.
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime.h"

extern "C" {
uint3 emulator_thread, emulator_block;
dim3 emulator_block_size, emulator_grid_size;
// Saves the callee-saved registers on the current stack and continues on another one.
void emulator_switch(void** save, void* to);
}

asm(R"(
.text
.globl emulator_switch
.hidden emulator_switch
.type emulator_switch, @function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulator_switch, . - emulator_switch
)");

namespace emulator {
namespace {

constexpr size_t kStackBytes = 64 << 10, kPageBytes = 4096, kMarkWords = 32;
constexpr uint64_t kMark = 0x5afe57acafe57ac5;
constexpr int kMaxThreads = 1024;
constexpr int kMain = -1;

std::vector<Fiber> all_fibers;
std::vector<Warp> all_warps;
unsigned char* stacks;
uintptr_t own_stack;  // of the running thread; 0 outside a kernel
void* main_stack_pointer;
int running = kMain;
bool abandoned;
unsigned random_state = 1, preempt_every;
bool shuffle_lanes;

unsigned next_random() {
  random_state = random_state * 1664525u + 1013904223u;
  return random_state >> 8;
}

unsigned char* stack_of(int thread) { return stacks + static_cast<size_t>(thread) * kStackBytes; }

// A page before the first stack is protected. A page before each stack would be 2048 mappings for each library, and a
// process with the libraries of all tests can have 65530.
void allocate_stacks() {
  void* memory = mmap(nullptr, kPageBytes + kStackBytes * kMaxThreads, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    perror("emulator: stacks");
    abort();
  }
  mprotect(memory, kPageBytes, PROT_NONE);
  stacks = static_cast<unsigned char*>(memory) + kPageBytes;
}

// The end of each stack has a known value, which a stack overflow changes.
uint64_t* end_of_stack(int thread) { return reinterpret_cast<uint64_t*>(stack_of(thread)); }

void switch_to(int thread) {
  void** const save = running == kMain ? &main_stack_pointer : &all_fibers[running].stack_pointer;
  running = thread;
  if (thread == kMain) {
    own_stack = 0;
    emulator_switch(save, main_stack_pointer);
    return;
  }
  emulator_thread = all_fibers[thread].index;
  own_stack = reinterpret_cast<uintptr_t>(stack_of(thread));
  emulator_switch(save, all_fibers[thread].stack_pointer);
}

// Returns the next thread that can run, beginning with the warp of `first`, or kMain.
int pick(int first) {
  const unsigned count = all_warps.size();
  for (unsigned i = 0; i < count; ++i) {
    const unsigned w = (first / 32 + i) % count;
    const unsigned ready = all_warps[w].ready;
    if (!ready) continue;
    const unsigned turn = shuffle_lanes ? next_random() & 31 : 0;
    const unsigned turned = turn ? ready >> turn | ready << (32 - turn) : ready;
    return w * 32 + ((__builtin_ctz(turned) + turn) & 31);
  }
  return kMain;
}

}  // namespace

std::vector<Fiber>& fibers() { return all_fibers; }
std::vector<Warp>& warps() { return all_warps; }
int current() { return running; }
int lane() { return running & 31; }
bool in_kernel() { return running != kMain; }
bool failed() { return abandoned; }
bool on_own_stack(uintptr_t address) { return address - own_stack < kStackBytes; }
bool on_any_stack(uintptr_t address) {
  return address - reinterpret_cast<uintptr_t>(stacks) < kStackBytes * kMaxThreads;
}

void start_fibers(int count, dim3 block, void (*entry)()) {
  if (!stacks) allocate_stacks();
  abandoned = false;
  all_fibers.resize(count);
  all_warps.assign((count + 31) / 32, Warp{});
  for (size_t w = 0; w < all_warps.size(); ++w) {
    const unsigned lanes = std::min(32u, count - static_cast<unsigned>(w) * 32);
    all_warps[w].lanes = all_warps[w].ready = lanes == 32 ? ~0u : (1u << lanes) - 1;
    all_warps[w].epoch = 1;
  }
  for (int t = 0; t < count; ++t) {
    std::fill_n(end_of_stack(t), kMarkWords, kMark);
    Fiber& fiber = all_fibers[t];
    fiber.state = State::kReady;
    fiber.index = {t % block.x, t / block.x % block.y, t / (block.x * block.y)};
    fiber.waited = false;
    fiber.copy_group = 0;
    fiber.releases = fiber.synced = fiber.fenced = 0;
    fiber.pending.clear();
    // emulator_switch pops six registers and a return address. At the entry rsp must be 8 past a multiple of 16.
    auto* top = reinterpret_cast<void**>(stack_of(t) + kStackBytes);
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(entry);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    fiber.stack_pointer = top;
  }
}

void run_fibers() {
  do {
    for (int next = pick(0); next != kMain && !abandoned; next = pick(0)) switch_to(next);
  } while (!abandoned && land_a_bulk_copy());
}

int overflowed_stack() {
  for (int t = 0; t < static_cast<int>(all_fibers.size()); ++t) {
    if (std::any_of(end_of_stack(t), end_of_stack(t) + kMarkWords, [](uint64_t word) { return word != kMark; })) return t;
  }
  return -1;
}

void make_ready(int thread) {
  all_fibers[thread].state = State::kReady;
  all_warps[thread / 32].ready |= 1u << (thread & 31);
}

void wait_in(State state, const char* what, Where where) {
  Fiber& fiber = all_fibers[running];
  fiber.state = state;
  fiber.waits_in = what;
  fiber.where = where;
  all_warps[running / 32].ready &= ~(1u << (running & 31));
  switch_to(pick(running));
}

void leave_kernel() {
  abandoned = true;
  switch_to(kMain);
  abort();  // unreachable
}

void set_schedule(unsigned seed, unsigned preempt) {
  random_state = seed * 2654435761u + 1;
  shuffle_lanes = seed != 0;
  preempt_every = preempt;
}

unsigned choose(unsigned count) { return shuffle_lanes ? next_random() % count : 0; }

void maybe_preempt() {
  if (!preempt_every || next_random() % preempt_every) return;
  const int next = pick(next_random() % all_fibers.size());
  if (next != kMain && next != running) switch_to(next);
}

}  // namespace emulator
