// cp.async. The source is read when the copy is issued. The bytes land when the issuing thread has waited for them. Until then the
// destination is poisoned, and accessing it is a fault.
#include <algorithm>
#include <array>
#include <cstring>

#include "runtime.h"

namespace emulator {
namespace {

// The destinations of a copy of each lane of a warp, to count the bank conflicts of one instruction. Lanes run one after the other,
// so entries fill up one by one.
struct WarpCopy {
  std::array<uint32_t, 32> to;
  unsigned lanes;
};

// The copies of a warp since its lanes have last synchronized, by their number. A lane that leaves one out is in step again after
// that.
struct WarpCopies {
  unsigned epoch;
  std::array<unsigned, 32> issued;
  std::map<unsigned, WarpCopy> incomplete;
};
std::map<int, WarpCopies> warp_copies;

// With 16 bytes per lane, a quarter of the warp fills the banks once.
void count_conflicts(const WarpCopy& copy) {
  for (int quarter = 0; quarter < 4; ++quarter) {
    int lanes_in_bank_group[8] = {}, passes = 1;
    for (int l = quarter * 8; l < quarter * 8 + 8; ++l)
      passes = std::max(passes, ++lanes_in_bank_group[copy.to[l] / 16 % 8]);
    counters().copy_conflicts += passes - 1;
  }
}

void record_for_conflicts(uint32_t to) {
  const auto& warp = warps()[current() / 32];
  WarpCopies& own = warp_copies[current() / 32];
  if (own.epoch != warp.epoch) own = {warp.epoch, {}, {}};
  const unsigned n = own.issued[lane()]++;
  WarpCopy& copy = own.incomplete[n];
  copy.to[lane()] = to;
  copy.lanes |= 1u << lane();
  if (copy.lanes != warp.lanes) return;
  if (copy.lanes == 0xffffffffu) count_conflicts(copy);
  own.incomplete.erase(n);
}

}  // namespace

void reset_copies() { warp_copies.clear(); }

void copy_async(uint32_t to, const void* from, int bytes, Where where) {
  const Access write{16, true, false, nullptr, where};
  unsigned char* const target = shared_pointer(to, 16, write);
  if (bytes < 0 || bytes > 16) fault(719, where, "cp.async of %d bytes", bytes);
  // The address must be aligned even if fewer bytes are read.
  if (reinterpret_cast<uintptr_t>(from) % 16) fault(716, where, "cp.async from a misaligned address: %p", from);
  PendingCopy copy{to, fibers()[current()].copy_group, {}};
  if (checked()) {
    if (bytes) access(reinterpret_cast<uintptr_t>(from), bytes, false, nullptr, where);
    access(reinterpret_cast<uintptr_t>(target), 16, true, nullptr, where);
    mark_in_flight(target, 16);
    record_for_conflicts(to);
  }
  memcpy(copy.data, from, bytes);
  memset(target, 0xff, 16);
  fibers()[current()].pending.push_back(copy);
}

void land_copies() {
  copy_async_commit();
  copy_async_wait(0);
}

void copy_async_commit() { ++fibers()[current()].copy_group; }

void copy_async_wait(int pending_groups) {
  Fiber& fiber = fibers()[current()];
  const auto landed = [&](const PendingCopy& copy) {
    if (copy.group >= fiber.copy_group - pending_groups) return false;
    unsigned char* const target = shared_pointer(copy.to, 16, {});
    memcpy(target, copy.data, 16);
    if (checked()) mark_landed(target, 16);
    return true;
  };
  fiber.pending.erase(std::remove_if(fiber.pending.begin(), fiber.pending.end(), landed), fiber.pending.end());
}

}  // namespace emulator
