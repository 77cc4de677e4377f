// Running a kernel: block after block, each thread a fiber.
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

void thread_main() {
  present->kernel->invoke(present->arguments);
  thread_exits();
}

// Runs one block. False if it did not come to its end.
bool run_block() {
  const dim3 block = present->block;
  const int threads = block.x * block.y * block.z;
  reset_sync();
  reset_shared(present->dynamic_bytes);
  start_fibers(threads, block, thread_main);
  run_fibers();
  if (failed()) return false;
  for (const Fiber& fiber : fibers()) {
    if (fiber.state == State::kDone) continue;
    report() = describe_deadlock() + " [kernel " + present->kernel->name + "]";
    fault_code = 719;
    return false;
  }
  return true;
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

Counters& counters() { return *present_counters; }
const Launch& current_launch() { return present ? *present : last; }

int run(const Launch& launch) {
  present = &launch;
  present_counters = &all_counters()[launch.kernel->name];
  ++present_counters->launches;
  report().clear();
  fault_code = 0;
  next_launch();
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
  last = launch;
  present = nullptr;
  return fault_code;
}

}  // namespace emulator
