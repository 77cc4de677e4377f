// Device memory: allocations between red zones, and a shadow. The shadow records for every byte whether it is allocated and written,
// and for every two bytes who wrote them last.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unordered_map>

#include "runtime.h"

namespace emulator {
namespace {

enum : uint8_t { kOutside, kRaw, kWritten, kFreed };

// The last write of two bytes. 64 bits: launch 14, block 24, thread + 1 11, atomic 1, the low bits of the epochs 7 + 7.
union Writer {
  uint64_t bits;
  struct {
    uint64_t launch : 14, block : 24, thread : 11, atomic : 1, block_epoch : 7, warp_epoch : 7;
  };
};

constexpr size_t kHeapBytes = 16ull << 30;  // of address space
constexpr size_t kRedZone = 256;

unsigned char* heap;
uint8_t* states;
Writer* writers;
size_t top = kRedZone, live;
std::map<uint64_t, size_t> allocated, freed;
unsigned launch_number;
bool reuse_addresses;
// By two bytes: the number of the writer's releases, in blocks that use mbarriers.
std::unordered_map<size_t, unsigned> releases;

unsigned char* reserve(size_t bytes) {
  // At any address: the program that loads this library may already use a fixed one.
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    perror("emulator: device memory");
    abort();
  }
  return static_cast<unsigned char*>(memory);
}

size_t offset_of(uint64_t address) { return address - reinterpret_cast<uint64_t>(heap); }

// Describes an address relative to the current or former allocations.
std::string neighbourhood(uint64_t address, bool was_freed) {
  const auto& blocks = was_freed ? freed : allocated;
  auto it = blocks.upper_bound(address);
  if (it == blocks.begin()) return "below every allocation";
  --it;
  return std::to_string(address - it->first) + " bytes from the start of an allocation of " +
         std::to_string(it->second);
}

Writer present_writer(bool atomic) {
  Writer writer;
  writer.launch = launch_number;
  writer.block = block_number();
  writer.thread = current() + 1;
  writer.atomic = atomic;
  writer.block_epoch = block_epoch();
  writer.warp_epoch = warps()[current() / 32].epoch;
  return writer;
}

// Returns whether an earlier write of a cell is not ordered before the current access.
bool races(Writer earlier, Writer now, size_t cell) {
  if (earlier.thread == 0 || earlier.launch != now.launch || (earlier.atomic && now.atomic)) return false;
  const auto ordered_by = [&](auto knows) {
    const auto release = releases.find(cell);
    return release != releases.end() && knows(release->second + 1);
  };
  if (earlier.block != now.block) {
    return !ordered_by([&](unsigned release) { return announced(earlier.block, earlier.thread - 1, release); });
  }
  if (earlier.thread == now.thread || earlier.block_epoch != now.block_epoch) return false;
  const bool same_warp = (earlier.thread - 1) / 32 == (now.thread - 1) / 32;
  if (same_warp) return earlier.warp_epoch == now.warp_epoch;
  return !ordered_by([&](unsigned release) { return acquired(earlier.thread - 1, release); });
}

}  // namespace

bool is_global(uintptr_t address) { return heap && address - reinterpret_cast<uintptr_t>(heap) < kHeapBytes; }

void global_access(uintptr_t address, const Access& access) {
  const size_t offset = offset_of(address);
  const Where nowhere{nullptr, 0};
  for (unsigned i = 0; i < access.bytes; ++i) {
    const uint8_t state = states[offset + i];
    if (state == kOutside || state == kFreed) {
      fault(700, nowhere, "a %u-byte %s of %s memory at %#zx (%s), at %s", access.bytes, access.verb(),
            state == kFreed ? "freed" : "out-of-bounds", address + i,
            neighbourhood(address + i, state == kFreed).c_str(), access.place().c_str());
    }
    if (state == kRaw && (!access.write || access.atomic)) {
      fault(719, nowhere, "a read of memory that was never written, %s, at %s",
            neighbourhood(address + i, false).c_str(), access.place().c_str());
    }
  }
  const Writer now = present_writer(access.atomic);
  for (size_t cell = offset / 2; cell <= (offset + access.bytes - 1) / 2; ++cell) {
    const Writer earlier = writers[cell];
    if (races(earlier, now, cell)) {
      fault(719, nowhere, "a race: %s of %s, written by thread %u of block %u without synchronization, at %s",
            access.verb(), neighbourhood(address, false).c_str(), unsigned(earlier.thread) - 1, unsigned(earlier.block),
            access.place().c_str());
    }
    check_dependency(access, earlier.thread != 0 && earlier.launch == ((now.launch - 1) & 0x3fff));
    if (!access.write) continue;
    writers[cell] = now;
    if (uses_mbarriers()) releases[cell] = fibers()[current()].releases;
  }
  if (access.write) memset(states + offset, kWritten, access.bytes);
  (access.write ? counters().bytes_written : counters().bytes_read) += access.bytes;
}

bool global_is_unwritten(uintptr_t address, unsigned bytes) {
  const uint8_t *const first = states + offset_of(address), *const end = first + bytes;
  const auto is_allocated = [](uint8_t state) { return state == kRaw || state == kWritten; };
  return std::all_of(first, end, is_allocated) && std::find(first, end, kRaw) != end;
}

uint64_t global_allocate(size_t bytes) {
  if (!heap) {
    heap = reserve(kHeapBytes);
    states = reserve(kHeapBytes);
    writers = reinterpret_cast<Writer*>(reserve(kHeapBytes / 2 * sizeof(Writer)));
  }
  uint64_t address = 0;
  if (reuse_addresses) {
    // The lowest address, so that a repeated call gets the same address, whatever was freed before.
    for (const auto& [start, size] : freed) {
      if (size == bytes && !address) address = start;
    }
    freed.erase(address);
  }
  if (!address) {  // never reuse an address, so that use after free is detected
    if (top + bytes + 2 * kRedZone > kHeapBytes) return 0;
    address = reinterpret_cast<uint64_t>(heap) + top;
    top += (bytes + kRedZone - 1) / kRedZone * kRedZone + kRedZone;
  }
  memset(reinterpret_cast<void*>(address), 0xff, bytes);  // NaN in every format
  memset(states + offset_of(address), kRaw, bytes);
  allocated[address] = bytes;
  live += bytes;
  return address;
}

bool global_free(uint64_t address) {
  const auto it = allocated.find(address);
  if (it == allocated.end()) return false;
  const size_t bytes = it->second;
  memset(states + offset_of(address), kFreed, bytes);
  freed[address] = bytes;
  allocated.erase(it);
  live -= bytes;
  return true;
}

const char* global_problem(uint64_t address, size_t bytes, bool need_written) {
  if (bytes == 0) return nullptr;
  if (!is_global(address) || !is_global(address + bytes - 1)) return "is not device memory";
  const uint8_t* const state = states + offset_of(address);
  for (size_t i = 0; i < bytes; ++i) {
    if (state[i] == kOutside) return "is outside every allocation";
    if (state[i] == kFreed) return "is freed";
    if (need_written && checked() && state[i] == kRaw) return "has bytes that were never written";
  }
  return nullptr;
}

void global_written_by_host(uint64_t address, size_t bytes) {
  memset(states + offset_of(address), kWritten, bytes);
  memset(writers + offset_of(address) / 2, 0, (bytes + 1) / 2 * sizeof(Writer));
}

size_t global_live_bytes() { return live; }
std::map<uint64_t, size_t>& global_allocations() { return allocated; }
void set_reuse(bool reuse) { reuse_addresses = reuse; }
void next_launch() {
  launch_number = (launch_number + 1) & 0x3fff;
  releases.clear();
}

}  // namespace emulator
