// Checks every load and store of a kernel. The compiler inserts a call before each one: the hooks of ThreadSanitizer, whose runtime
// these functions replace.
#include <dlfcn.h>

#include <cstring>

#include "runtime.h"

extern "C" uint3 emulator_thread, emulator_block;
extern "C" dim3 emulator_block_size, emulator_grid_size;

namespace emulator {
namespace {

template <class T>
bool is_in(const T& variable, uintptr_t address) {
  return address - reinterpret_cast<uintptr_t>(&variable) < sizeof variable;
}

// threadIdx and similar variables, the most frequent reads.
bool is_index(uintptr_t address) {
  return is_in(emulator_thread, address) || is_in(emulator_block, address) || is_in(emulator_grid_size, address) ||
         is_in(emulator_block_size, address);
}

// The current atomic operation, whose own load and store are not ordinary accesses.
const void* atomic_address;

}  // namespace

std::string Access::place() const { return program_counter ? describe_code(program_counter) : describe(where); }

void access(uintptr_t address, unsigned bytes, bool write, void* program_counter, Where where, bool atomic) {
  if (!in_kernel()) return;
  step();
  if (on_own_stack(address)) return;
  if (in_collective() && on_any_stack(address)) return;  // the records of other lanes
  if (!in_collective() && !atomic) maybe_preempt();
  const Access access{bytes, write, atomic, program_counter, where};
  if ((bytes & (bytes - 1)) == 0 && address & (bytes - 1)) {
    fault(716, {nullptr, 0}, "a misaligned %u-byte %s of %#zx, at %s", bytes, access.verb(), address,
          access.place().c_str());
  }
  if (is_global(address)) return global_access(address, access);
  if (is_shared(address)) return shared_access(address, access);
  if (!write) {
    if (is_index(address)) return;
    const auto buffer = reinterpret_cast<uintptr_t>(current_launch().argument_buffer);
    const auto pointers = reinterpret_cast<uintptr_t>(current_launch().arguments);
    if (address - buffer < current_launch().argument_bytes || address - pointers < 4096) return;
    // Constant tables and the launch's own variables are in this library.
    Dl_info info;
    if (dladdr(reinterpret_cast<void*>(address), &info) && info.dli_fname) return;
  }
  fault(700, {nullptr, 0}, "a %u-byte %s of %#zx, which is not a device address, at %s", bytes, access.verb(), address,
        access.place().c_str());
}

void atomic_begin(const void* address, size_t bytes, Where where) {
  if (checked()) access(reinterpret_cast<uintptr_t>(address), bytes, true, nullptr, where, true);
  atomic_address = address;
  ticket_begin(const_cast<void*>(address), bytes);
}

void atomic_end() {
  ticket_end();
  atomic_address = nullptr;
}

namespace {

void hook(void* address, unsigned bytes, bool write, void* program_counter) {
  if (atomic_address && address == atomic_address) return;
  access(reinterpret_cast<uintptr_t>(address), bytes, write, program_counter, {nullptr, 0});
}

}  // namespace
}  // namespace emulator

#define EMULATOR_HOOKS(bytes)                                                                                    \
  void __tsan_read##bytes(void* address) { emulator::hook(address, bytes, false, __builtin_return_address(0)); } \
  void __tsan_write##bytes(void* address) { emulator::hook(address, bytes, true, __builtin_return_address(0)); } \
  void __tsan_unaligned_read##bytes(void* address) {                                                             \
    emulator::hook(address, bytes, false, __builtin_return_address(0));                                          \
  }                                                                                                              \
  void __tsan_unaligned_write##bytes(void* address) {                                                            \
    emulator::hook(address, bytes, true, __builtin_return_address(0));                                           \
  }

extern "C" {
EMULATOR_HOOKS(1)
EMULATOR_HOOKS(2)
EMULATOR_HOOKS(4)
EMULATOR_HOOKS(8)
EMULATOR_HOOKS(16)
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

// Further checks that the compiler inserts: indices of arrays in registers, and divisors. The data that it passes begins with the
// place.
struct Place {
  const char* file;
  int line, column;
};
void __ubsan_handle_out_of_bounds_abort(const Place* place, ptrdiff_t index) {
  emulator::fault(700, {place->file, place->line}, "an array index out of bounds: %zd", index);
}
void __ubsan_handle_divrem_overflow_abort(const Place* place, uintptr_t, uintptr_t) {
  emulator::fault(719, {place->file, place->line}, "an integer division by zero");
}

// Copies and fills of whole objects. The compiler turns them into calls to libc, which the build redirects to these functions.
static void emulator_range(const void* address, size_t bytes, bool write, void* program_counter) {
  auto at = reinterpret_cast<uintptr_t>(address);
  while (bytes) {
    unsigned piece = 16;
    while (piece > bytes || at % piece) piece /= 2;
    emulator::hook(reinterpret_cast<void*>(at), piece, write, program_counter);
    at += piece;
    bytes -= piece;
  }
}
void* emulator_memcpy(void* to, const void* from, size_t bytes) {
  emulator_range(from, bytes, false, __builtin_return_address(0));
  emulator_range(to, bytes, true, __builtin_return_address(0));
  return memcpy(to, from, bytes);
}
void* emulator_memset(void* to, int value, size_t bytes) {
  emulator_range(to, bytes, true, __builtin_return_address(0));
  return memset(to, value, bytes);
}
}
