// Tickets, by which the blocks of a product take tiles, because tiles do not take equally long. One thread of a block takes a
// ticket and passes it, or the position of its tile, to the others through slots in shared memory. `Tile` has the type of what
// is passed, Ticket; the number of slots, kSlots; and the offsets of their mbarriers, kTaken, and of the slots, kTickets.
#pragma once
#include <ptx.cuh>

namespace yamoe {

template <class Tile>
struct alignas(16) TicketSlot {
  typename Tile::Ticket ticket;
};

template <class Tile>
__device__ __forceinline__ TicketSlot<Tile>& ticket_slot(uint32_t n) {
  return reinterpret_cast<TicketSlot<Tile>*>(dynamic_smem() + Tile::kTickets)[n % Tile::kSlots];
}

// Passes the ticket of a block's n-th tile to all warps.
template <class Tile>
__device__ __forceinline__ void pass_ticket(uint32_t n, const typename Tile::Ticket& ticket) {
  // Nobody waits for an empty slot: when all copies of a tile are issued, every warp has begun at least the tile that is
  // kStages before it, and the slot of the next ticket was that of an earlier tile.
  static_assert(Tile::kSlots >= Tile::kStages + 2, "a ticket must not be overwritten before it is received");
  ticket_slot<Tile>(n).ticket = ticket;
  mbarrier_arrive(shared_address(dynamic_smem()) + Tile::kTaken + n % Tile::kSlots * 8);
}

// Returns the ticket of a block's n-th tile.
template <class Tile>
__device__ __forceinline__ typename Tile::Ticket receive_ticket(uint32_t n) {
  mbarrier_wait(shared_address(dynamic_smem()) + Tile::kTaken + n % Tile::kSlots * 8, n / Tile::kSlots % 2);
  return ticket_slot<Tile>(n).ticket;
}

// Takes a ticket for another tile than the block's first. All blocks together take as many as there are tiles, because
// each block with a tile takes one too many. The last of them lets the tickets begin again.
__device__ __forceinline__ int take_ticket(int* counter, int count) {
  const int taken = atomicAdd(counter, 1);
  if (taken == count - 1) *counter = 0;
  return taken + static_cast<int>(gridDim.x);
}

}  // namespace yamoe
