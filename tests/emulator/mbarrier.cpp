// Hopper's mbarriers, and the order that they create between the accesses of threads.
//
// A thread counts its releases: its arrivals, and each __syncwarp, after which another lane may arrive for it. Every access stores
// the count. It is ordered before the accesses of a thread that has waited for a later release.
#include <algorithm>
#include <set>

#include "runtime.h"

namespace emulator {
namespace {

// The bulk copies that completed in one phase, and the waits for that phase.
struct Ended {
  Where where;  // of one of the copies
  std::vector<Stamp> seen;
};

struct Mbarrier {
  int arrivals, missing;
  unsigned phase;
  int initialised_by;
  unsigned block_epoch;
  std::vector<unsigned> coming, released;  // by thread: the releases of this phase, and of all completed phases
  std::vector<int> waiting;
  bool fenced;                       // whether a fence has made it visible to the async proxy
  int bytes, in_flight;              // bytes that are expected and missing; bytes of bulk copies in flight
  std::map<unsigned, Ended> copies;  // by phase
  std::vector<unsigned> seen;        // by thread: the number of phases that it has seen complete
};
constexpr int kMostBytes = (1 << 20) - 1;  // PTX ISA, "Contents of the mbarrier object"

std::map<uint32_t, Mbarrier> barriers;

// What the announcements at a counter order.
struct Announcements {
  std::map<unsigned, std::vector<unsigned>> released;  // by block and thread
  std::vector<int> waiting;
};
std::map<const int*, Announcements> announcements;
std::map<int, std::set<const int*>> awaited;  // by thread: the counters at which it has waited

// By thread and other thread: the latest release of the other that is ordered before the thread, now and when the thread last
// fenced the async proxy.
std::vector<unsigned> known, fenced;

Mbarrier& barrier_at(uint32_t address, Where where) {
  const auto found = barriers.find(address);
  if (found == barriers.end()) fault(719, where, "%#x is not an mbarrier", address);
  Mbarrier& barrier = found->second;
  if (barrier.initialised_by != current() && barrier.block_epoch == block_epoch()) {
    fault(719, where, "an mbarrier is used with no barrier since thread %d initialised it", barrier.initialised_by);
  }
  return barrier;
}

void end_phase_if_complete(Mbarrier& barrier) {
  if (barrier.missing > 0 || barrier.bytes != 0) return;
  barrier.missing = barrier.arrivals;
  ++barrier.phase;
  for (size_t t = 0; t < barrier.released.size(); ++t)
    barrier.released[t] = std::max(barrier.released[t], barrier.coming[t]);
  for (const int thread : barrier.waiting) make_ready(thread);
  barrier.waiting.clear();
}

void expect(Mbarrier& barrier, uint32_t bytes, Where where) {
  if (bytes > kMostBytes || barrier.bytes + static_cast<int>(bytes) > kMostBytes) {
    fault(719, where, "an mbarrier cannot expect %u more bytes while %d are missing: the maximum is %d", bytes,
          barrier.bytes, kMostBytes);
  }
  barrier.bytes += bytes;
}

// The running thread has waited, and every thread that is ordered after it.
void see(Mbarrier& barrier) {
  unsigned& seen = barrier.seen[current()];
  for (auto it = barrier.copies.lower_bound(seen); it != barrier.copies.end() && it->first < barrier.phase; ++it) {
    it->second.seen.push_back(now());
  }
  seen = barrier.phase;
}

void learn(const std::vector<unsigned>& released) {
  unsigned* const mine = &known[current() * fibers().size()];
  for (size_t t = 0; t < released.size(); ++t) mine[t] = std::max(mine[t], released[t]);
}

}  // namespace

void reset_mbarriers() {
  barriers.clear();
  awaited.clear();
  known.clear();
  fenced.clear();
}

bool uses_mbarriers() { return !barriers.empty(); }

bool acquired(int thread, unsigned release, bool through_fence) {
  const std::vector<unsigned>& table = through_fence ? fenced : known;
  return !table.empty() && table[current() * fibers().size() + thread] >= release;
}

bool announced(unsigned block, int thread, unsigned release) {
  const auto& counters = awaited[current()];
  return std::any_of(counters.begin(), counters.end(), [&](const int* counter) {
    const auto& released = announcements[counter].released;
    const auto found = released.find(block);
    return found != released.end() && thread < static_cast<int>(found->second.size()) && found->second[thread] >= release;
  });
}

void forget_announcements() { announcements.clear(); }

void mbarrier_init(uint32_t address, int arrivals, Where where) {
  step();
  const Access write{8, true, false, nullptr, where};
  unsigned char* const at = shared_pointer(address, 8, write);
  if (barriers.count(address)) fault(719, where, "an mbarrier is initialised twice, at %#x", address);
  if (checked()) {
    access(reinterpret_cast<uintptr_t>(at), 8, true, nullptr, where);
    mark_mbarrier(at);
  }
  if (arrivals < 1) fault(719, where, "an mbarrier for %d arrivals", arrivals);
  const size_t threads = fibers().size();
  barriers[address] = {arrivals,
                       arrivals,
                       0,
                       current(),
                       block_epoch(),
                       std::vector<unsigned>(threads),
                       std::vector<unsigned>(threads),
                       {},
                       false,
                       0,
                       0,
                       {},
                       std::vector<unsigned>(threads)};
  known.resize(threads * threads);
  fenced.resize(threads * threads);
}

void mbarrier_arrive(uint32_t address, Where where) { mbarrier_arrive_expecting(address, 0, where); }

void mbarrier_arrive_expecting(uint32_t address, uint32_t bytes, Where where) {
  step();
  maybe_land_a_bulk_copy();
  Mbarrier& barrier = barrier_at(address, where);
  if (barrier.missing == 0) {
    fault(719, where, "an arrival at an mbarrier that has all its %d arrivals, while %d bytes of the phase are missing",
          barrier.arrivals, barrier.bytes);
  }
  expect(barrier, bytes, where);
  const int first = current() & ~31;
  for (int t = first; t < std::min<int>(first + 32, fibers().size()); ++t) {
    barrier.coming[t] = std::max(barrier.coming[t], fibers()[t].synced);
  }
  barrier.coming[current()] = ++fibers()[current()].releases;
  // The order is transitive.
  const unsigned* const mine = &known[current() * fibers().size()];
  for (size_t t = 0; t < barrier.coming.size(); ++t) barrier.coming[t] = std::max(barrier.coming[t], mine[t]);
  --barrier.missing;
  end_phase_if_complete(barrier);
}

void mbarrier_will_complete(uint32_t address, unsigned bytes, uint32_t to, Where where) {
  Mbarrier& barrier = barrier_at(address, where);
  if (!barrier.fenced) {
    fault(719, where, "an mbarrier is used by a bulk copy with no fence of the async proxy since it was initialised");
  }
  for (const auto& [other, unused] : barriers) {
    if (other + 8 > to && other < to + bytes) fault(719, where, "a bulk copy overwrites the mbarrier at %#x", other);
  }
  barrier.in_flight += bytes;
  if (barrier.bytes - barrier.in_flight < -kMostBytes) {
    fault(719, where, "bulk copies of %d bytes complete at an mbarrier that expects %d: the maximum is %d more",
          barrier.in_flight, barrier.bytes, kMostBytes);
  }
}

unsigned mbarrier_complete(uint32_t address, unsigned bytes, Where where) {
  Mbarrier& barrier = barriers.at(address);
  const unsigned phase = barrier.phase;
  barrier.in_flight -= bytes;
  barrier.bytes -= bytes;
  barrier.copies[phase].where = where;
  end_phase_if_complete(barrier);
  return phase;
}

bool knows_bulk_copies(uint32_t address, unsigned phase) {
  const auto found = barriers.find(address);
  if (found == barriers.end()) return false;
  const Mbarrier& barrier = found->second;
  if (barrier.seen[current()] > phase) return true;
  const auto ended = barrier.copies.find(phase);
  return ended != barrier.copies.end() && std::any_of(ended->second.seen.begin(), ended->second.seen.end(), ordered);
}

std::string unseen_bulk_copies() {
  for (const auto& [address, barrier] : barriers) {
    for (const auto& [phase, ended] : barrier.copies) {
      if (ended.seen.empty()) return describe(ended.where);
    }
  }
  return "";
}

std::string describe_mbarriers() {
  std::string text;
  for (const auto& [address, barrier] : barriers) {
    if (barrier.waiting.empty()) continue;
    text += " an mbarrier lacks " + std::to_string(barrier.missing) + " arrivals and " + std::to_string(barrier.bytes) +
            " bytes;";
  }
  return text;
}

void mbarrier_wait(uint32_t address, unsigned parity, Where where) {
  step();
  maybe_land_a_bulk_copy();
  Mbarrier& barrier = barrier_at(address, where);
  if (parity > 1) fault(719, where, "the parity of an mbarrier must be 0 or 1, got %u", parity);
  while (barrier.phase % 2 == parity) {
    barrier.waiting.push_back(current());
    wait_in(State::kAtMbarrier, "mbarrier.try_wait", where);
  }
  learn(barrier.released);
  see(barrier);
}

void announce(int* counter, Where where) {
  sync_warp(0xffffffffu, where);
  if (current() % 32 != 0) return;
  if (checked()) access(reinterpret_cast<uintptr_t>(counter), sizeof *counter, true, nullptr, where, true);
  ++*counter;
  Announcements& all = announcements[counter];
  std::vector<unsigned>& released = all.released[block_number()];
  const size_t threads = fibers().size();
  released.resize(threads);
  for (size_t t = 0; t < threads && !known.empty(); ++t) {  // what other warps have released to this one
    released[t] = std::max(released[t], known[current() * threads + t]);
  }
  for (int t = current(); t < current() + 32; ++t) released[t] = std::max(released[t], fibers()[t].synced);
  released[current()] = ++fibers()[current()].releases;
  for (const int thread : all.waiting) make_ready(thread);
  all.waiting.clear();
}

void wait_for_announcements(const int* counter, int count, Where where) {
  step();
  while (*counter < count) {
    announcements[counter].waiting.push_back(current());
    wait_in(State::kAtMbarrier, "wait_for_announcements", where);
  }
  learn(announcements[counter].released[block_number()]);
  awaited[current()].insert(counter);
}

// The copies land at once. That hides no fault: a thread that does not wait here is not ordered after them.
void copy_async_arrive(uint32_t address, Where where) {
  land_copies();
  mbarrier_arrive(address, where);
}

void fence_async_proxy() {
  step();
  for (auto& [address, barrier] : barriers) {
    if (barrier.initialised_by == current() || barrier.block_epoch != block_epoch()) barrier.fenced = true;
  }
  Fiber& fiber = fibers()[current()];
  fiber.fenced = ++fiber.releases;
  const size_t threads = fibers().size();
  if (known.empty()) return;
  std::copy_n(&known[current() * threads], threads, &fenced[current() * threads]);
}

}  // namespace emulator
