// Hopper's mbarriers, and what the threads that meet there know of each other's accesses.
//
// A thread counts its releases: its arrivals, and each __syncwarp, after which another lane may arrive for it. An access is
// stamped with the count, and is ordered before the accesses of a thread that has waited for a later release.
#include <algorithm>

#include "runtime.h"

namespace emulator {
namespace {

struct Mbarrier {
  int arrivals, missing;
  unsigned phase;
  int initialised_by;
  unsigned block_epoch;
  std::vector<unsigned> coming, told;  // by thread: the releases of this phase, and of all phases that have ended
  std::vector<int> waiting;
};

std::map<uint32_t, Mbarrier> barriers;

// By thread, and then by thread: the latest release that the one knows of, and knew of when it last fenced the async proxy.
std::vector<unsigned> known, fenced;

Mbarrier& barrier_at(uint32_t address, Where where) {
  const auto found = barriers.find(address);
  if (found == barriers.end()) fault(719, where, "%#x is no mbarrier", address);
  Mbarrier& barrier = found->second;
  if (barrier.initialised_by != current() && barrier.block_epoch == block_epoch()) {
    fault(719, where, "an mbarrier is used with no barrier since thread %d initialised it", barrier.initialised_by);
  }
  return barrier;
}

void learn(const std::vector<unsigned>& told) {
  unsigned* const mine = &known[current() * fibers().size()];
  for (size_t t = 0; t < told.size(); ++t) mine[t] = std::max(mine[t], told[t]);
}

}  // namespace

void reset_mbarriers() {
  barriers.clear();
  known.clear();
  fenced.clear();
}

bool acquired(int thread, unsigned release, bool through_fence) {
  const std::vector<unsigned>& table = through_fence ? fenced : known;
  return !table.empty() && table[current() * fibers().size() + thread] >= release;
}

void mbarrier_init(uint32_t address, int arrivals, Where where) {
  step();
  shared_pointer(address, 8, {8, true, false, nullptr, where});
  if (arrivals < 1) fault(719, where, "an mbarrier of %d arrivals", arrivals);
  const size_t threads = fibers().size();
  barriers[address] = {arrivals, arrivals, 0, current(), block_epoch(), std::vector<unsigned>(threads),
                       std::vector<unsigned>(threads), {}};
  known.resize(threads * threads);
  fenced.resize(threads * threads);
}

void mbarrier_arrive(uint32_t address, Where where) {
  step();
  Mbarrier& barrier = barrier_at(address, where);
  const int first = current() & ~31;
  for (int t = first; t < std::min<int>(first + 32, fibers().size()); ++t) {
    barrier.coming[t] = std::max(barrier.coming[t], fibers()[t].synced);
  }
  barrier.coming[current()] = ++fibers()[current()].releases;
  if (--barrier.missing > 0) return;
  barrier.missing = barrier.arrivals;
  ++barrier.phase;
  for (size_t t = 0; t < barrier.told.size(); ++t) barrier.told[t] = std::max(barrier.told[t], barrier.coming[t]);
  for (const int thread : barrier.waiting) make_ready(thread);
  barrier.waiting.clear();
}

void mbarrier_wait(uint32_t address, unsigned parity, Where where) {
  step();
  Mbarrier& barrier = barrier_at(address, where);
  if (parity > 1) fault(719, where, "an mbarrier has no parity %u", parity);
  while (barrier.phase % 2 == parity) {
    barrier.waiting.push_back(current());
    wait_in(State::kAtMbarrier, "mbarrier.try_wait", where);
  }
  learn(barrier.told);
}

// The copies land at once: how long they take nobody can rely on, and who does not wait here knows nothing of them.
void copy_async_arrive(uint32_t address, Where where) {
  land_copies();
  mbarrier_arrive(address, where);
}

void fence_async_proxy() {
  step();
  const size_t threads = fibers().size();
  if (known.empty()) return;
  std::copy_n(&known[current() * threads], threads, &fenced[current() * threads]);
}

}  // namespace emulator
