// Tickets: numbers that the blocks of a launch take from a counter in global memory, by adding 1. Blocks run one after the other, so
// the first one would take all tickets. With a limit, each block gets only so many, and then a number after the last ticket, as
// if other blocks had taken the rest. The last block gets all that are left.
//
// A number that was refused is not counted before a negative number is added to the counter: it must be zero at the end, and each
// block has taken one ticket too many.
#include <map>

#include "runtime.h"

namespace emulator {
namespace {

constexpr int kNoTicket = 1 << 30;

unsigned limit;
std::map<const int*, unsigned> taken;  // by the current block
std::map<const int*, int> refused;     // by all blocks of the launch

// The counter of the current atomic operation, or null; its value before; and whether the operation finds kNoTicket instead.
int* counter;
int value;
bool refuses;

bool is_last_block() {
  const dim3 grid = current_launch().grid;
  return block_number() + 1 == grid.x * grid.y * grid.z;
}

}  // namespace

void set_ticket_limit(unsigned tickets) { limit = tickets; }

void reset_tickets(bool launch) {
  taken.clear();
  if (launch) refused.clear();
}

void ticket_begin(void* address, size_t bytes) {
  counter = nullptr;
  if (!limit || bytes != sizeof *counter || !is_global(reinterpret_cast<uintptr_t>(address))) return;
  counter = static_cast<int*>(address);
  value = *counter;
  refuses = taken[counter] >= limit && !is_last_block();
  if (refuses) *counter = kNoTicket;
}

void ticket_end() {
  if (!counter) return;
  const int added = *counter - (refuses ? kNoTicket : value);
  if (refuses && added == 1) {
    *counter = value;
    ++refused[counter];
    return;
  }
  *counter = value + added;
  if (added == 1) ++taken[counter];
  if (added < 0) {
    *counter += refused[counter];
    refused.erase(counter);
  }
}

}  // namespace emulator
