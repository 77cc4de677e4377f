// Bulk tensor copies: the source is read when the copy is issued. The bytes land later, in any order: at the latest when no thread
// can go on without. Until then the destination is poison.
#include <algorithm>
#include <cstring>

#include "runtime.h"
#include "tensor_map.h"

namespace emulator {
namespace {

struct Piece {
  unsigned char* to;
  unsigned char data[16];
};

struct BulkCopy {
  uint32_t barrier;
  unsigned bytes;
  Where where;
  std::vector<Piece> pieces;
};
std::vector<BulkCopy> under_way;

const TensorMap& map_at(const void* address, Where where) {
  if (reinterpret_cast<uintptr_t>(address) % 64)
    fault(716, where, "a tensor map at %p, which is no multiple of 64", address);
  if (checked()) {
    for (int i = 0; i < 8; ++i) access(reinterpret_cast<uintptr_t>(address) + i * 16, 16, false, nullptr, where);
  }
  const auto& map = *static_cast<const TensorMap*>(address);
  if (map.kind == TensorMap::kCopied) {
    fault(719, where, "a copy of a tensor map, in local memory: only the kernel's parameter itself will do");
  }
  if (map.kind != TensorMap::kEncoded) fault(719, where, "no tensor map that the driver has encoded");
  return map;
}

// PTX ISA, "Swizzling Modes": bits 7 and up of an address permute bits 4 and up. Each table there has the pattern for boxes whose
// rows are as long as the swizzle's span; of shorter rows nothing is said.
uint32_t swizzled(uint32_t address, unsigned span) {
  return span ? address ^ ((address >> 7 & (span / 16 - 1)) << 4) : address;
}

// The 16 bytes that begin at these coordinates: zeros outside of the tensor.
void read_piece(const TensorMap& map, const int64_t (&at)[5], unsigned char (&data)[16], Where where) {
  memset(data, 0, 16);
  uint64_t row = map.address;
  for (int d = 1; d < map.rank; ++d) {
    if (at[d] < 0 || at[d] >= static_cast<int64_t>(map.sizes[d])) return;
    row += at[d] * map.strides[d];
  }
  const int64_t first = std::max<int64_t>(at[0], 0);
  const int64_t end = std::min<int64_t>(at[0] + 16 / map.element_bytes, map.sizes[0]);
  if (first >= end) return;
  const uint64_t from = row + first * map.element_bytes;
  const unsigned bytes = (end - first) * map.element_bytes;
  if (!is_global(from)) fault(700, where, "a bulk copy from %#zx, which is no device memory", size_t{from});
  step();
  if (checked()) global_access(from, {bytes, false, false, nullptr, where});  // aligned as elements are, no better
  memcpy(data + (first - at[0]) * map.element_bytes, reinterpret_cast<const void*>(from), bytes);
}

void land(size_t which) {
  const BulkCopy copy = std::move(under_way[which]);
  under_way.erase(under_way.begin() + which);
  const unsigned phase = mbarrier_complete(copy.barrier, copy.bytes, copy.where);
  for (const Piece& piece : copy.pieces) {
    memcpy(piece.to, piece.data, 16);
    if (checked()) mark_landed_in_bulk(piece.to, 16, copy.barrier, phase);
  }
}

}  // namespace

void reset_bulk_copies() { under_way.clear(); }

bool land_a_bulk_copy() {
  if (under_way.empty()) return false;
  land(choose(under_way.size()));
  return true;
}

std::string pending_bulk_copies() { return under_way.empty() ? "" : describe(under_way.front().where); }

// A kernel's parameters are where the driver has put them; what the kernel makes of them is on its stack.
void copy_tensor_map(void* to, const void* from) {
  memcpy(to, from, 128);
  const auto offset = static_cast<const unsigned char*>(from) - current_launch().argument_buffer;
  if (static_cast<size_t>(offset) >= current_launch().argument_bytes)
    static_cast<TensorMap*>(to)->kind = TensorMap::kCopied;
}

void prefetch_tensor_map(const void* map, Where where) {
  step();
  map_at(map, where);
}

void bulk_copy(uint32_t to, const void* map_address, uint32_t barrier, std::initializer_list<int> coordinates,
               Where where) {
  step();
  const TensorMap& map = map_at(map_address, where);
  if (coordinates.size() != map.rank) {
    fault(719, where, "a bulk copy of %zu dimensions by a tensor map of %d", coordinates.size(), map.rank);
  }
  const unsigned row_bytes = map.box[0] * map.element_bytes;
  if (map.swizzle_bytes && row_bytes != map.swizzle_bytes) {
    fault(719, where, "a box with rows of %u bytes, swizzled in %u: where they lie is not documented", row_bytes,
          map.swizzle_bytes);
  }
  unsigned rows = 1;
  for (int d = 1; d < map.rank; ++d) rows *= map.box[d];
  const unsigned bytes = rows * row_bytes;
  check_box(to, bytes, where);
  mbarrier_will_complete(barrier, bytes, to, where);

  BulkCopy copy{barrier, bytes, where, {}};
  copy.pieces.reserve(bytes / 16);
  for (unsigned offset = 0; offset < bytes; offset += 16) {
    int64_t at[5];
    unsigned rest = offset / row_bytes;
    at[0] = coordinates.begin()[0] + int64_t{offset % row_bytes / map.element_bytes};
    for (int d = 1; d < map.rank; ++d) {
      at[d] = coordinates.begin()[d] + int64_t{rest % map.box[d]};
      rest /= map.box[d];
    }
    Piece piece{shared_pointer(swizzled(to + offset, map.swizzle_bytes), 16, {16, true, false, nullptr, where}), {}};
    read_piece(map, at, piece.data, where);
    if (checked()) {
      access(reinterpret_cast<uintptr_t>(piece.to), 16, true, nullptr, where);
      mark_in_flight(piece.to, 16);
    }
    memset(piece.to, 0xff, 16);
    copy.pieces.push_back(piece);
  }
  under_way.push_back(std::move(copy));
  maybe_land_a_bulk_copy();
}

void maybe_land_a_bulk_copy() {
  if (choose(4) == 3) land_a_bulk_copy();  // never in the plain order: there they land as late as they can
}

}  // namespace emulator
