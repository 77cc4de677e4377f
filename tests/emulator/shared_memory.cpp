// The shared memory of a block, and a shadow. The shadow records for every byte who wrote it last and who has read it since, and
// when. If one of two accesses is a write, a barrier must be between them.
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <unordered_map>

#include "runtime.h"

// The section that contains static shared memory. The linker defines these names.
extern unsigned char __start_emulator_shared[] __attribute__((weak, visibility("hidden")));
extern unsigned char __stop_emulator_shared[] __attribute__((weak, visibility("hidden")));

namespace emulator {
namespace {

constexpr size_t kDynamicMax = 256 << 10;
constexpr uint32_t kWindow = 1024;             // the start of the window of 32-bit addresses: 0 must be invalid
constexpr uint32_t kStaticWindow = 512 << 10;  // the start of its static part

// Values of `who` other than threads. kWarpOf + w: lanes of warp w. kBulkCopy: `warp_epoch` and `release` are its barrier and phase.
// kUnwrittenCopy: the same of a bulk copy of memory that was never written. kMbarrier: the bytes are an mbarrier, not data.
enum : uint16_t {
  kNobody = 0,
  kWarpOf = 2000,
  kSeveralWarps = 3000,
  kInFlight = 3001,
  kBulkCopy = 3002,
  kMbarrier = 3003,
  kUnwrittenCopy = 3004
};

struct Cell {
  Stamp writer, reader;
};

static_assert(std::has_unique_object_representations_v<Cell>);

alignas(1024) unsigned char dynamic[kDynamicMax];
Cell dynamic_cells[kDynamicMax];
std::vector<Cell> static_cells;
size_t dynamic_bytes;

// For each 16 bytes of dynamic shared memory and each warp: whether wgmma of the warp has read them. The value is the release of the
// warp's first lane that orders the read before other threads, kReading, or 0 if they were not read.
constexpr uint32_t kReading = 0xffffffffu;
constexpr int kWarps = 32;
struct AsyncRead {
  uint32_t release, block_epoch;
};
std::vector<AsyncRead> async_reads;

// For each 16 bytes of dynamic shared memory: the last read by each thread since the last write. Only mbarriers need this: they
// order each reader by itself before a write, where other barriers order all of them.
std::unordered_map<size_t, std::vector<Stamp>> readers;

size_t static_bytes() { return __stop_emulator_shared - __start_emulator_shared; }

int warp_of(const Stamp& stamp) { return stamp.who >= kWarpOf ? stamp.who - kWarpOf : (stamp.who - 1) / 32; }

std::string name_of(const Stamp& stamp) {
  if (stamp.who == kSeveralWarps) return "threads of several warps";
  if (stamp.who == kBulkCopy || stamp.who == kUnwrittenCopy) return "a bulk copy";
  if (stamp.who >= kWarpOf) return "lanes of warp " + std::to_string(warp_of(stamp));
  return "thread " + std::to_string(stamp.who - 1);
}

void add_reader(Cell& cell) {
  const Stamp stamp = now();
  Stamp& reader = cell.reader;
  if (ordered(reader)) {
    reader = stamp;
  } else if (reader.who != kSeveralWarps) {
    const bool same = warp_of(reader) == current() / 32;
    reader = stamp;
    reader.who = same ? kWarpOf + current() / 32 : kSeveralWarps;
  }
}

void record_reader(size_t offset, unsigned bytes) {
  for (size_t piece = offset / 16; piece <= (offset + bytes - 1) / 16; ++piece) {
    std::vector<Stamp>& stamps = readers[piece];
    const Stamp stamp = now();
    const auto own = std::find_if(stamps.begin(), stamps.end(), [&](const Stamp& s) { return s.who == stamp.who; });
    if (own == stamps.end()) {
      stamps.push_back(stamp);
    } else {
      *own = stamp;
    }
  }
}

// Returns whether mbarriers order every read of these 16 bytes before the running thread.
bool all_readers_ordered(size_t piece) {
  const auto found = readers.find(piece);
  return found != readers.end() && std::all_of(found->second.begin(), found->second.end(), ordered);
}

// Returns the shadow of an address and its place for reports, or null if it is outside.
Cell* cell_of(uintptr_t address, size_t& offset, const char*& kind) {
  offset = address - reinterpret_cast<uintptr_t>(dynamic);
  kind = "dynamic shared memory";
  if (offset < kDynamicMax) return dynamic_cells + offset;
  offset = address - reinterpret_cast<uintptr_t>(__start_emulator_shared);
  kind = "static shared memory";
  return offset < static_bytes() ? &static_cells[offset] : nullptr;
}

// Checks that every read by wgmma is ordered before a write.
void check_async_reads(size_t offset, const Access& access) {
  if (async_reads.empty()) return;
  for (size_t piece = offset / 16; piece <= (offset + access.bytes - 1) / 16; ++piece) {
    for (int w = 0; w < kWarps; ++w) {
      AsyncRead& read = async_reads[piece * kWarps + w];
      if (read.release == 0) continue;
      const bool known = w == current() / 32 || read.block_epoch != block_epoch() || acquired(w * 32, read.release);
      if (read.release == kReading || !known) {
        fault(719, {nullptr, 0}, "a race: write of byte %zu of dynamic shared memory, %s warp %d, at %s", offset,
              read.release == kReading ? "while wgmma reads it for" : "with no barrier since wgmma read it for", w,
              access.place().c_str());
      }
      read = {};
    }
  }
}

}  // namespace

Stamp now(bool atomic) {
  return {static_cast<uint16_t>(current() + 1), atomic, block_epoch(), warps()[current() / 32].epoch,
          fibers()[current()].releases};
}

bool ordered(const Stamp& earlier) {
  if (earlier.who == kBulkCopy || earlier.who == kUnwrittenCopy) {
    return knows_bulk_copies(earlier.warp_epoch, earlier.release);
  }
  if (earlier.who == kNobody || earlier.block_epoch != block_epoch() || earlier.who == current() + 1) return true;
  if (earlier.who < kWarpOf && acquired(earlier.who - 1, earlier.release + 1)) return true;
  if (earlier.who == kSeveralWarps || warp_of(earlier) != current() / 32) return false;
  return earlier.warp_epoch != warps()[current() / 32].epoch;
}

bool is_shared(uintptr_t address) {
  size_t offset;
  const char* kind;
  return cell_of(address, offset, kind) != nullptr;
}

void shared_access(uintptr_t address, const Access& access) {
  size_t offset;
  const char* kind;
  Cell* const cells = cell_of(address, offset, kind);
  const Where nowhere{nullptr, 0};
  if (kind[0] == 'd' && offset + access.bytes > dynamic_bytes) {
    fault(700, nowhere, "a %u-byte %s past dynamic shared memory: byte %zu of %zu, at %s", access.bytes, access.verb(),
          offset, dynamic_bytes, access.place().c_str());
  }
  const bool dynamic = kind[0] == 'd';
  if (access.write && dynamic) check_async_reads(offset, access);
  if (!access.write && dynamic && uses_mbarriers()) record_reader(offset, access.bytes);
  Cell before{};  // of the last byte that was checked
  for (unsigned i = 0; i < access.bytes; ++i) {
    Cell& cell = cells[i];
    // Mostly all bytes of an access have the same past. Then they have the same future.
    if (i > 0 && memcmp(&cell, &before, sizeof cell) == 0) {
      cell = cells[i - 1];
      continue;
    }
    before = cell;
    const auto complain = [&](const char* problem, const Stamp& other) {
      fault(719, nowhere, "a race: %s of byte %zu of %s, %s by %s with no barrier between, at %s", access.verb(),
            offset + i, kind, problem, name_of(other).c_str(), access.place().c_str());
    };
    if (cell.writer.who == kInFlight) {
      fault(719, nowhere, "a %s of byte %zu of %s while an asynchronous copy to it is in flight, at %s", access.verb(),
            offset + i, kind, access.place().c_str());
    }
    if (cell.writer.who == kMbarrier) {
      fault(719, nowhere, "a %s of byte %zu of %s, which is part of an mbarrier, at %s", access.verb(), offset + i,
            kind, access.place().c_str());
    }
    const bool unwritten = cell.writer.who == kNobody || cell.writer.who == kUnwrittenCopy;
    if (unwritten && (!access.write || access.atomic)) {
      fault(719, nowhere, "a %s of byte %zu of %s, which no thread has written, at %s", access.verb(), offset + i, kind,
            access.place().c_str());
    }
    // Atomic operations do not race with each other.
    if (!(access.atomic && cell.writer.atomic) && !ordered(cell.writer)) {
      complain(access.write ? "also written" : "written", cell.writer);
    }
    if (access.write) {
      if (!ordered(cell.reader) && !(dynamic && all_readers_ordered((offset + i) / 16))) complain("read", cell.reader);
      cell = {now(access.atomic), {}};
    } else {
      add_reader(cell);
    }
  }
  // After a write of a part, the readers of the other bytes still count.
  if (access.write && dynamic && access.bytes == 16) readers.erase(offset / 16);
}

void reset_shared(size_t bytes) {
  dynamic_bytes = bytes;
  memset(dynamic, 0xff, bytes);
  memset(__start_emulator_shared, 0xff, static_bytes());
  async_reads.clear();
  readers.clear();
  if (!checked()) return;
  memset(static_cast<void*>(dynamic_cells), 0, bytes * sizeof(Cell));
  static_cells.assign(static_bytes(), Cell{});
}

unsigned char* dynamic_shared() { return dynamic; }

uint32_t shared_address(const void* pointer) {
  const size_t offset = static_cast<const unsigned char*>(pointer) - dynamic;
  if (offset < kDynamicMax) return kWindow + offset;
  return kStaticWindow + static_cast<uint32_t>(static_cast<const unsigned char*>(pointer) - __start_emulator_shared);
}

unsigned char* shared_pointer(uint32_t address, unsigned bytes, const Access& access) {
  unsigned char* pointer = nullptr;
  if (address - kWindow < kDynamicMax) pointer = dynamic + (address - kWindow);
  if (address - kStaticWindow < static_bytes()) pointer = __start_emulator_shared + (address - kStaticWindow);
  if (!pointer) fault(717, access.where, "%#x is not a shared address", address);
  if (address % bytes) fault(716, access.where, "the shared address %#x must be a multiple of %u", address, bytes);
  return pointer;
}

void mark_in_flight(const unsigned char* at, unsigned bytes) {
  size_t offset;
  const char* kind;
  Cell* const cells = cell_of(reinterpret_cast<uintptr_t>(at), offset, kind);
  for (unsigned i = 0; i < bytes; ++i) cells[i].writer.who = kInFlight;
}

void mark_landed(const unsigned char* at, unsigned bytes) {
  size_t offset;
  const char* kind;
  Cell* const cells = cell_of(reinterpret_cast<uintptr_t>(at), offset, kind);
  for (unsigned i = 0; i < bytes; ++i) cells[i] = {now(), {}};
}

void mark_landed_in_bulk(const unsigned char* at, unsigned bytes, uint32_t barrier, unsigned phase, bool written) {
  Cell* const cells = dynamic_cells + (at - dynamic);
  const uint16_t who = written ? kBulkCopy : kUnwrittenCopy;
  for (unsigned i = 0; i < bytes; ++i) cells[i] = {{who, false, 0, barrier, phase}, {}};
}

void mark_mbarrier(const unsigned char* at) {
  size_t offset;
  const char* kind;
  Cell* const cells = cell_of(reinterpret_cast<uintptr_t>(at), offset, kind);
  for (unsigned i = 0; i < 8; ++i) cells[i] = {{kMbarrier, false, 0, 0, 0}, {}};
}

void check_box(uint32_t address, unsigned bytes, unsigned alignment, Where where) {
  if (address % alignment)
    fault(716, where, "a bulk copy to the shared address %#x, which must be a multiple of %u", address, alignment);
  const uint32_t offset = address - kWindow;
  if (offset >= kDynamicMax) fault(717, where, "a bulk copy to %#x, which is not in dynamic shared memory", address);
  if (offset + bytes > dynamic_bytes) {
    fault(700, where, "a bulk copy past dynamic shared memory: bytes %u to %u of %zu", offset, offset + bytes,
          dynamic_bytes);
  }
}

void check_fences(const unsigned char* at, Where where) {
  const size_t offset = at - dynamic;
  const auto check = [&](const Stamp& stamp, const char* verb) {
    if (stamp.who == kNobody || stamp.who >= kWarpOf || stamp.release < fibers()[stamp.who - 1].fenced) return;
    if (!ordered(stamp)) return;  // a race, which is reported as such
    fault(719, where, "a bulk copy to byte %zu of %s, which thread %d has %s with no fence of the async proxy since", offset,
          "dynamic shared memory", stamp.who - 1, verb);
  };
  for (int i = 0; i < 16; ++i) check(dynamic_cells[offset + i].writer, "written");
  const auto found = readers.find(offset / 16);
  if (found == readers.end()) return;
  for (const Stamp& reader : found->second) check(reader, "read");
}

bool is_written(uint32_t address) {
  if (!checked()) return true;
  size_t offset;
  const char* kind;
  const unsigned char* const pointer = shared_pointer(address, 16, {16, false, false, nullptr, {nullptr, 0}});
  const Cell* const cells = cell_of(reinterpret_cast<uintptr_t>(pointer), offset, kind);
  return std::any_of(cells, cells + 16, [](const Cell& cell) { return cell.writer.who != kNobody; });
}

bool is_unwritten_copy(uint32_t address) {
  if (!checked()) return false;
  size_t offset;
  const char* kind;
  const unsigned char* const pointer = shared_pointer(address, 16, {16, false, false, nullptr, {nullptr, 0}});
  return cell_of(reinterpret_cast<uintptr_t>(pointer), offset, kind)->writer.who == kUnwrittenCopy;
}

void async_read_begins(uint32_t address, Where where) {
  const Access access{16, false, false, nullptr, where};
  const unsigned char* const pointer = shared_pointer(address, 16, access);
  if (!checked()) return;
  size_t offset;
  const char* kind;
  const Cell* const cells = cell_of(reinterpret_cast<uintptr_t>(pointer), offset, kind);
  if (async_reads.empty()) async_reads.resize(kDynamicMax / 16 * kWarps);
  if (kind[0] != 'd' || offset + 16 > dynamic_bytes) fault(700, where, "wgmma reads past dynamic shared memory");
  for (int i = 0; i < 16; ++i) {
    const Stamp& writer = cells[i].writer;
    const char* const problem = writer.who == kInFlight   ? "while an asynchronous copy to it is in flight"
                                : writer.who == kMbarrier ? "which is part of an mbarrier"
                                : writer.who == kNobody   ? "which no thread has written"
                                : !ordered(writer)        ? "with no barrier since it was written"
                                : writer.who < kWarpOf && writer.block_epoch == block_epoch() &&
                                        !acquired(writer.who - 1, writer.release + 1, true)
                                    ? "with no fence of the async proxy since it was written"
                                    : nullptr;
    if (problem) fault(719, where, "wgmma reads byte %zu of %s, %s", offset + i, kind, problem);
  }
  async_reads[offset / 16 * kWarps + current() / 32] = {kReading, block_epoch()};
}

void async_read_ends(uint32_t address) {
  if (!checked()) return;
  const size_t offset = shared_pointer(address, 16, {}) - dynamic;
  async_reads[offset / 16 * kWarps + current() / 32] = {fibers()[current() & ~31].releases + 1, block_epoch()};
}

}  // namespace emulator
