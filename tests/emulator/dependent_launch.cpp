// Programmatic dependent launch. Kernels run one after the other, but a kernel that may overlap the one before it is checked as if
// that one still ran until a thread waits for it.
#include "runtime.h"

namespace emulator {
namespace {

bool block_waited;

}  // namespace

void reset_dependency() { block_waited = false; }

void wait_for_previous_kernel() { block_waited = fibers()[current()].waited = true; }

void allow_next_kernel(Where where) {
  if (!fibers()[current()].waited) {
    fault(719, where, "the next kernel is allowed before this thread has waited for the kernel before");
  }
}

void check_dependency(const Access& access, bool written_by_previous) {
  if (!current_launch().overlaps || fibers()[current()].waited) return;
  if (access.write || written_by_previous) {
    fault(719, {nullptr, 0}, "a %s of %s before the thread has waited for the kernel before, at %s", access.verb(),
          access.write ? "global memory" : "memory that the kernel before has written", access.place().c_str());
  }
}

bool has_waited() { return block_waited || !current_launch().overlaps; }

}  // namespace emulator
