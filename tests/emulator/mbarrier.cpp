// Hopper's mbarriers, and what the threads that meet there know of each other's accesses.
//
// A thread counts its releases: its arrivals, and each __syncwarp, after which another lane may arrive for it. An access is
// stamped with the count, and is ordered before the accesses of a thread that has waited for a later release.
#include <algorithm>

#include "runtime.h"

namespace emulator {
namespace {

// Bulk copies that ended in one phase, and the waits for that.
struct Ended {
  Where where;  // of one of the copies
  std::vector<Stamp> seen;
};

struct Mbarrier {
  int arrivals, missing;
  unsigned phase;
  int initialised_by;
  unsigned block_epoch;
  std::vector<unsigned> coming, told;  // by thread: the releases of this phase, and of all phases that have ended
  std::vector<int> waiting;
  bool fenced;                       // whether the async proxy knows of it
  int bytes, under_way;              // expected and not there; of bulk copies that are issued and have not ended
  std::map<unsigned, Ended> copies;  // by phase
  std::vector<unsigned> seen;        // by thread: how many phases it has seen end
};
constexpr int kMostBytes = (1 << 20) - 1;  // PTX ISA, "Contents of the mbarrier object"

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

void end_phase_if_complete(Mbarrier& barrier) {
  if (barrier.missing > 0 || barrier.bytes != 0) return;
  barrier.missing = barrier.arrivals;
  ++barrier.phase;
  for (size_t t = 0; t < barrier.told.size(); ++t) barrier.told[t] = std::max(barrier.told[t], barrier.coming[t]);
  for (const int thread : barrier.waiting) make_ready(thread);
  barrier.waiting.clear();
}

void expect(Mbarrier& barrier, uint32_t bytes, Where where) {
  if (bytes > kMostBytes || barrier.bytes + static_cast<int>(bytes) > kMostBytes) {
    fault(719, where, "an mbarrier is to expect %u bytes, with %d to come: %d is the most", bytes, barrier.bytes,
          kMostBytes);
  }
  barrier.bytes += bytes;
}

// The running thread has waited, and with it whoever is ordered after that.
void see(Mbarrier& barrier) {
  unsigned& seen = barrier.seen[current()];
  for (auto it = barrier.copies.lower_bound(seen); it != barrier.copies.end() && it->first < barrier.phase; ++it) {
    it->second.seen.push_back(now());
  }
  seen = barrier.phase;
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
  const Access write{8, true, false, nullptr, where};
  unsigned char* const at = shared_pointer(address, 8, write);
  if (barriers.count(address)) fault(719, where, "an mbarrier is initialised where one is, at %#x", address);
  if (checked()) {
    access(reinterpret_cast<uintptr_t>(at), 8, true, nullptr, where);
    mark_mbarrier(at);
  }
  if (arrivals < 1) fault(719, where, "an mbarrier of %d arrivals", arrivals);
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
    fault(719, where, "an arrival at an mbarrier of %d that have come, of whose phase %d bytes are to come",
          barrier.arrivals, barrier.bytes);
  }
  expect(barrier, bytes, where);
  const int first = current() & ~31;
  for (int t = first; t < std::min<int>(first + 32, fibers().size()); ++t) {
    barrier.coming[t] = std::max(barrier.coming[t], fibers()[t].synced);
  }
  barrier.coming[current()] = ++fibers()[current()].releases;
  --barrier.missing;
  end_phase_if_complete(barrier);
}

void mbarrier_will_complete(uint32_t address, unsigned bytes, uint32_t to, Where where) {
  Mbarrier& barrier = barrier_at(address, where);
  if (!barrier.fenced) {
    fault(719, where, "an mbarrier is used by a bulk copy with no fence of the async proxy since it was initialised");
  }
  for (const auto& [other, unused] : barriers) {
    if (other + 8 > to && other < to + bytes) fault(719, where, "a bulk copy over the mbarrier at %#x", other);
  }
  barrier.under_way += bytes;
  if (barrier.bytes - barrier.under_way < -kMostBytes) {
    fault(719, where, "bulk copies of %d bytes end at an mbarrier that expects %d: %d more is the most",
          barrier.under_way, barrier.bytes, kMostBytes);
  }
}

unsigned mbarrier_complete(uint32_t address, unsigned bytes, Where where) {
  Mbarrier& barrier = barriers.at(address);
  const unsigned phase = barrier.phase;
  barrier.under_way -= bytes;
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
  if (parity > 1) fault(719, where, "an mbarrier has no parity %u", parity);
  while (barrier.phase % 2 == parity) {
    barrier.waiting.push_back(current());
    wait_in(State::kAtMbarrier, "mbarrier.try_wait", where);
  }
  learn(barrier.told);
  see(barrier);
}

// The copies land at once: how long they take nobody can rely on, and who does not wait here knows nothing of them.
void copy_async_arrive(uint32_t address, Where where) {
  land_copies();
  mbarrier_arrive(address, where);
}

void fence_async_proxy() {
  step();
  for (auto& [address, barrier] : barriers) {
    if (barrier.initialised_by == current() || barrier.block_epoch != block_epoch()) barrier.fenced = true;
  }
  const size_t threads = fibers().size();
  if (known.empty()) return;
  std::copy_n(&known[current() * threads], threads, &fenced[current() * threads]);
}

}  // namespace emulator
