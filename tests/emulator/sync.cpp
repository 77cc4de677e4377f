// Barriers and the collectives of a warp, with their checks.
#include <cstring>

#include "runtime.h"

namespace emulator {
namespace {

unsigned epoch;  // counts the block's barriers
int at_barrier, exited;
Where barrier_where;  // of the first thread to arrive
bool running_collective;

// Called when the last thread of the block exits: no copy may land after that.
void check_bulk_copies() {
  const Where nowhere{nullptr, 0};
  if (const std::string copy = pending_bulk_copies(); !copy.empty()) {
    fault(719, nowhere, "the block ends with a bulk copy in flight, issued at %s", copy.c_str());
  }
  if (const std::string copy = unseen_bulk_copies(); !copy.empty()) {
    fault(719, nowhere, "the block ends with a bulk copy for which no thread has waited, issued at %s", copy.c_str());
  }
}

void release_barrier() {
  at_barrier = 0;
  ++epoch;
  for (Warp& warp : warps()) ++warp.epoch;
  for (size_t t = 0; t < fibers().size(); ++t) {
    if (fibers()[t].state == State::kAtBarrier) make_ready(t);
  }
}

}  // namespace

unsigned block_epoch() { return epoch; }
bool in_collective() { return running_collective; }

void reset_sync() {
  epoch = 1;
  at_barrier = exited = 0;
  running_collective = false;
}

// The source line identifies a barrier. Its address would not, because compilers duplicate code.
void sync_block(Where where) {
  step();
  if (at_barrier == 0) {
    barrier_where = where;
  } else if (where.line != barrier_where.line || strcmp(where.file, barrier_where.file) != 0) {
    fault(719, where, "barrier divergence: other threads wait at the barrier of %s", describe(barrier_where).c_str());
  }
  if (exited) fault(719, where, "a barrier after %d threads have exited", exited);
  if (++at_barrier == static_cast<int>(fibers().size())) {
    ++counters().barriers;
    release_barrier();
  } else {
    wait_in(State::kAtBarrier, "__syncthreads", where);
  }
}

void sync_warp(unsigned mask, Where where) { collective("__syncwarp", mask, &mask, nullptr, where); }

void collective(const char* name, unsigned mask, void* record, Collective run, Where where) {
  step();
  Warp& warp = warps()[current() / 32];
  const unsigned bit = 1u << lane();
  if (!(mask & bit)) fault(719, where, "%s: the mask %08x lacks the calling lane", name, mask);
  if (mask == 0xffffffffu) mask = warp.lanes;  // a full mask in an incomplete last warp
  if (mask & ~warp.lanes) fault(719, where, "%s: the mask %08x contains lanes that do not exist", name, mask);
  if (mask & warp.exited) fault(719, where, "%s: the mask %08x contains lanes that have exited", name, mask);
  if (!warp.arrived) {
    warp.name = name;
    warp.mask = mask;
    warp.run = run;
    warp.where = where;
  } else if (warp.mask != mask || warp.run != run || warp.where.line != where.line) {
    fault(719, where, "warp divergence: %s with mask %08x, while other lanes wait in %s with mask %08x at %s", name,
          mask, warp.name, warp.mask, describe(warp.where).c_str());
  }
  warp.records[lane()] = record;
  warp.arrived |= bit;
  if (warp.arrived != mask) return wait_in(State::kAtCollective, name, where);

  void* records[32];
  memcpy(records, warp.records, sizeof records);
  memset(warp.records, 0, sizeof warp.records);
  warp.arrived = 0;
  if (run) {
    running_collective = true;
    run(records, mask, where);
    running_collective = false;
  } else {
    ++warp.epoch;  // only __syncwarp orders memory
  }
  const int first = current() & ~31;
  if (!run) {
    for (unsigned lanes = mask; lanes; lanes &= lanes - 1) {
      Fiber& fiber = fibers()[first + __builtin_ctz(lanes)];
      fiber.synced = ++fiber.releases;
    }
  }
  for (unsigned waiting = mask & ~bit; waiting; waiting &= waiting - 1) make_ready(first + __builtin_ctz(waiting));
}

void thread_exits() {
  Warp& warp = warps()[current() / 32];
  const Where nowhere{nullptr, 0};
  if (!fibers()[current()].pending.empty()) fault(719, nowhere, "a thread exits with asynchronous copies in flight");
  if (const std::string products = pending_products(); !products.empty()) {
    fault(719, nowhere, "a thread exits with %s", products.c_str());
  }
  if (warp.arrived && (warp.mask >> lane() & 1)) {
    fault(719, nowhere, "a lane exits while other lanes wait for it in %s at %s", warp.name,
          describe(warp.where).c_str());
  }
  if (at_barrier)
    fault(719, nowhere, "a thread exits while other threads wait at the barrier of %s",
          describe(barrier_where).c_str());
  if (++exited == static_cast<int>(fibers().size())) check_bulk_copies();
  warp.exited |= 1u << lane();
  wait_in(State::kDone, "exit", nowhere);
}

std::string describe_deadlock() {
  std::string text = "deadlock:";
  const Fiber* previous = nullptr;
  for (size_t t = 0, shown = 0; t < fibers().size() && shown < 4; ++t) {
    const Fiber& fiber = fibers()[t];
    if (fiber.state == State::kDone) continue;
    if (!previous || fiber.where.line != previous->where.line) {
      text += " thread " + std::to_string(t) + " waits in " + fiber.waits_in + " at " + describe(fiber.where) + ";";
      ++shown;
    }
    previous = &fiber;
  }
  return text + describe_mbarriers();
}

}  // namespace emulator
