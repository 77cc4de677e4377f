// Reports of faults. Keeps the first fault of a launch, with the kernel, block, thread and place.
#include <dlfcn.h>

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "runtime.h"

extern "C" uint3 emulator_block;

namespace emulator {

extern int fault_code;  // launch.cpp

std::string& report() {
  static std::string text;
  return text;
}

const char* base_name(const char* path) {
  const char* const slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

std::string describe(Where where) {
  return where.file ? std::string(base_name(where.file)) + ":" + std::to_string(where.line) : "its end";
}

// Returns the place of an instruction in the source, followed by its inlined callers. Uses addr2line, which is slow.
std::string describe_code(void* program_counter) {
  Dl_info info;
  if (!dladdr(program_counter, &info)) return "an unknown place";
  const auto offset = reinterpret_cast<uintptr_t>(program_counter) - reinterpret_cast<uintptr_t>(info.dli_fbase) - 1;
  char command[512];
  snprintf(command, sizeof command, "addr2line -s -i -e '%s' %#zx 2>/dev/null", info.dli_fname, offset);
  std::string places;
  if (FILE* const pipe = popen(command, "r")) {
    for (char line[256]; fgets(line, sizeof line, pipe);) {
      line[strcspn(line, " \n")] = 0;
      places += (places.empty() ? "" : " < ") + std::string(line);
    }
    pclose(pipe);
  }
  return places.empty() || places[0] == '?' ? "an unknown place" : places;
}

void fault(int code, Where where, const char* format, ...) {
  if (report().empty()) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    report() = text;
    if (where.line) report() += ", at " + describe(where);
    const uint3 thread = fibers()[current()].index;
    snprintf(text, sizeof text, " [kernel %s, block (%u,%u,%u), thread (%u,%u,%u)]",
             current_launch().kernel->name.c_str(), emulator_block.x, emulator_block.y, emulator_block.z, thread.x,
             thread.y, thread.z);
    report() += text;
    fault_code = code;
  }
  leave_kernel();
}

}  // namespace emulator
