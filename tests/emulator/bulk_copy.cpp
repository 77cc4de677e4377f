// Bulk copies, of a box of a tensor map or of consecutive bytes. The source is read when the copy is issued. The bytes land later, in any order, at the latest when no thread
// can continue. Until then the destination is poisoned.
#include <algorithm>
#include <cstring>

#include "runtime.h"
#include "tensor_map.h"

namespace emulator {
namespace {

struct Piece {
  unsigned char* to;
  unsigned char data[16];
  bool written;  // whether the source was
};

struct BulkCopy {
  uint32_t barrier;
  unsigned bytes;
  Where where;
  std::vector<Piece> pieces;
};
std::vector<BulkCopy> in_flight;

const TensorMap& map_at(const void* address, Where where) {
  if (reinterpret_cast<uintptr_t>(address) % 64)
    fault(716, where, "a tensor map at %p: the address must be a multiple of 64", address);
  if (checked()) {
    for (int i = 0; i < 8; ++i) access(reinterpret_cast<uintptr_t>(address) + i * 16, 16, false, nullptr, where);
  }
  const auto& map = *static_cast<const TensorMap*>(address);
  if (map.kind == TensorMap::kCopied) {
    fault(719, where, "a copy of a tensor map in local memory: the map must be the kernel's parameter itself");
  }
  if (map.kind != TensorMap::kEncoded) fault(719, where, "not a tensor map that the driver has encoded");
  return map;
}

// PTX ISA, "Swizzling Modes": bits 7 and up of an address permute bits 4 and up. Its tables show boxes whose rows are as long as
// the swizzle's span. Shorter rows are not documented.
uint32_t swizzled(uint32_t address, unsigned span) {
  return span ? address ^ ((address >> 7 & (span / 16 - 1)) << 4) : address;
}

// Reads the 16 bytes at these coordinates. Elements outside the tensor are zeros. Returns false if some bytes were never written:
// a box may have such bytes, which arrive as unwritten ones.
bool read_piece(const TensorMap& map, const int64_t (&at)[5], unsigned char (&data)[16], Where where) {
  memset(data, 0, 16);
  uint64_t row = map.address;
  for (int d = 1; d < map.rank; ++d) {
    if (at[d] < 0 || at[d] >= static_cast<int64_t>(map.sizes[d])) return true;
    row += at[d] * map.strides[d];
  }
  const int64_t first = std::max<int64_t>(at[0], 0);
  const int64_t end = std::min<int64_t>(at[0] + 16 / map.element_bytes, map.sizes[0]);
  if (first >= end) return true;
  const uint64_t from = row + first * map.element_bytes;
  const unsigned bytes = (end - first) * map.element_bytes;
  if (!is_global(from)) fault(700, where, "a bulk copy from %#zx, which is not device memory", size_t{from});
  step();
  if (checked()) {  // the alignment is only that of elements
    if (global_is_unwritten(from, bytes)) {
      memset(data, 0xff, 16);
      return false;
    }
    global_access(from, {bytes, false, false, nullptr, where});
  }
  memcpy(data + (first - at[0]) * map.element_bytes, reinterpret_cast<const void*>(from), bytes);
  return true;
}

void land(size_t which) {
  const BulkCopy copy = std::move(in_flight[which]);
  in_flight.erase(in_flight.begin() + which);
  const unsigned phase = mbarrier_complete(copy.barrier, copy.bytes, copy.where);
  for (const Piece& piece : copy.pieces) {
    memcpy(piece.to, piece.data, 16);
    if (checked()) mark_landed_in_bulk(piece.to, 16, copy.barrier, phase, piece.written);
  }
}

// Poisons the destination of 16 bytes until the copy lands.
void add_piece(BulkCopy& copy, uint32_t to, const unsigned char (&data)[16], bool written = true) {
  Piece piece{shared_pointer(to, 16, {16, true, false, nullptr, copy.where}), {}, written};
  memcpy(piece.data, data, 16);
  if (checked()) {
    check_fences(piece.to, copy.where);
    access(reinterpret_cast<uintptr_t>(piece.to), 16, true, nullptr, copy.where);
    mark_in_flight(piece.to, 16);
  }
  memset(piece.to, 0xff, 16);
  copy.pieces.push_back(piece);
}

void issue(BulkCopy&& copy) {
  in_flight.push_back(std::move(copy));
  maybe_land_a_bulk_copy();
}

}  // namespace

void reset_bulk_copies() { in_flight.clear(); }

bool land_a_bulk_copy() {
  if (in_flight.empty()) return false;
  land(choose(in_flight.size()));
  return true;
}

std::string pending_bulk_copies() { return in_flight.empty() ? "" : describe(in_flight.front().where); }

// A kernel's parameters are in the driver's memory. A copy that the kernel makes is on its stack.
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
    fault(719, where, "a bulk copy with %zu coordinates by a tensor map of %d dimensions", coordinates.size(),
          map.rank);
  }
  const unsigned row_bytes = map.box[0] * map.element_bytes;
  if (map.swizzle_bytes && row_bytes != map.swizzle_bytes) {
    fault(719, where, "a box with rows of %u bytes and a swizzle of %u: this layout is not documented", row_bytes,
          map.swizzle_bytes);
  }
  unsigned rows = 1;
  for (int d = 1; d < map.rank; ++d) rows *= map.box[d];
  const unsigned bytes = rows * row_bytes;
  check_box(to, bytes, 128, where);
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
    unsigned char data[16];
    const bool written = read_piece(map, at, data, where);
    add_piece(copy, swizzled(to + offset, map.swizzle_bytes), data, written);
  }
  issue(std::move(copy));
}

void bulk_copy_1d(uint32_t to, const void* from, uint32_t bytes, uint32_t barrier, Where where) {
  step();
  const auto source = reinterpret_cast<uint64_t>(from);
  if (source % 16 || bytes % 16 || bytes == 0) {
    fault(716, where, "a bulk copy of %u bytes from %p: both must be multiples of 16, and the size positive", bytes,
          from);
  }
  check_box(to, bytes, 16, where);
  mbarrier_will_complete(barrier, bytes, to, where);
  BulkCopy copy{barrier, bytes, where, {}};
  for (uint32_t offset = 0; offset < bytes; offset += 16) {
    if (!is_global(source + offset)) fault(700, where, "a bulk copy from %p, which is not device memory", from);
    if (checked()) global_access(source + offset, {16, false, false, nullptr, where});
    unsigned char data[16];
    memcpy(data, reinterpret_cast<const void*>(source + offset), 16);
    add_piece(copy, to + offset, data);
  }
  issue(std::move(copy));
}

void maybe_land_a_bulk_copy() {
  if (choose(4) == 3) land_a_bulk_copy();  // never in the plain order, in which copies land as late as possible
}

}  // namespace emulator
