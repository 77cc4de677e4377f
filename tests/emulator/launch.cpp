// Runs a kernel: block after block, each thread as a fiber.
#include <algorithm>
#include <cstring>

#include "runtime.h"

extern "C" {
extern uint3 emulator_block;
extern dim3 emulator_block_size, emulator_grid_size;
}

namespace emulator {

int fault_code;

namespace {

const Launch* present;
Launch last;
Counters* present_counters;
uint64_t steps, most_steps, step_limit;

void thread_main() {
  present->kernel->invoke(present->arguments);
  thread_exits();
}

// Runs one block. Returns false if it did not finish.
bool run_block() {
  const dim3 block = present->block;
  const int threads = block.x * block.y * block.z;
  reset_sync();
  reset_tickets(false);
  reset_copies();
  reset_bulk_copies();
  reset_dependency();
  reset_mbarriers();
  forget_warpgroup_products();
  reset_shared(present->dynamic_bytes);
  start_fibers(threads, block, thread_main);
  run_fibers();
  if (failed()) return false;
  if (const int thread = overflowed_stack(); thread >= 0) {
    report() = "a stack overflow of thread " + std::to_string(thread) + " [kernel " + present->kernel->name + "]";
    fault_code = 719;
    return false;
  }
  for (const Fiber& fiber : fibers()) {
    if (fiber.state == State::kDone) continue;
    report() = describe_deadlock() + " [kernel " + present->kernel->name + "]";
    fault_code = 719;
    return false;
  }
  if (has_waited()) return true;
  report() = "a block ended without having waited for the kernel before [kernel " + present->kernel->name + "]";
  fault_code = 719;
  return false;
}

}  // namespace

std::map<std::string, Kernel>& kernels() {
  static std::map<std::string, Kernel> table;
  return table;
}

void register_kernel(const char* name, Invoke invoke, const size_t* sizes, size_t count) {
  kernels()[name] = {name, invoke, {sizes, sizes + count}};
}

std::map<std::string, Counters>& all_counters() {
  static std::map<std::string, Counters> table;
  return table;
}

void step() {
  ++steps;
  if (step_limit && steps > step_limit) {
    fault(702, {nullptr, 0}, "more than %zu accesses, barriers and collectives", size_t{step_limit});
  }
}

uint64_t set_step_limit(uint64_t limit) {
  step_limit = limit;
  const uint64_t most = most_steps;
  most_steps = 0;
  return most;
}

Counters& counters() { return *present_counters; }
const Launch& current_launch() { return present ? *present : last; }

unsigned block_number() {
  return emulator_block.x + emulator_grid_size.x * (emulator_block.y + emulator_grid_size.y * emulator_block.z);
}

int run(const Launch& launch) {
  present = &launch;
  present_counters = &all_counters()[launch.kernel->name];
  ++present_counters->launches;
  report().clear();
  fault_code = 0;
  steps = 0;
  next_launch();
  reset_tickets(true);
  forget_announcements();
  emulator_grid_size = launch.grid;
  emulator_block_size = launch.block;
  bool completed = true;
  for (unsigned z = 0; z < launch.grid.z && completed; ++z) {
    for (unsigned y = 0; y < launch.grid.y && completed; ++y) {
      for (unsigned x = 0; x < launch.grid.x && completed; ++x) {
        emulator_block = {x, y, z};
        completed = run_block();
      }
    }
  }
  most_steps = std::max(most_steps, steps);
  last = launch;
  present = nullptr;
  return fault_code;
}

}  // namespace emulator
