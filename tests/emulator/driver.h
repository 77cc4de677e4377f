// Shared by the parts of the driver: how a call begins and ends, and the live handles.
#pragma once
#include <cuda.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cubin.h"
#include "runtime.h"

namespace emulator {

// ---- One call (calls.cpp)

enum class Needs { kNothing, kInit, kContext };

// Counts a call and returns the status with which it must fail at once: an injected fault, cuInit not called, a context
// poisoned by a kernel, or no current context.
CUresult begin_call(const char* name, Needs needs);

// Stores the reason of a refused call for emu_report().
CUresult refuse(CUresult result, const std::string& reason);

// The error of a faulty kernel, which all later calls return.
CUresult& sticky_error();

// ---- The device and its live objects

struct Device {
  int architecture;
  const char* name;
  int multiprocessors, shared_bytes, shared_bytes_per_block;
};
const Device& device();
int device_count();
int driver_version();
size_t device_memory();

struct Graph {
  std::vector<std::function<CUresult()>> nodes;
};

struct Stream {
  std::unique_ptr<Graph> capturing;
};

struct Event {
  double milliseconds = -1;  // when it was recorded; negative before that
};

// The live handles of every kind. The end of the context removes them all.
struct Live {
  int contexts = 0;
  std::map<Stream*, std::unique_ptr<Stream>> streams;
  std::map<Event*, std::unique_ptr<Event>> events;
  std::map<Module*, std::unique_ptr<Module>> modules;
  std::map<Graph*, std::unique_ptr<Graph>> graphs, executables;
  std::map<const void*, size_t> registered;
  std::set<uint64_t> allocations;
};
Live& live();
bool has_current_context();

// Runs work in stream order: at once, or, during a capture, when the graph is launched.
CUresult enqueue(CUstream stream, std::function<CUresult()> work);

// Returns whether a handle is live. The null stream always is.
bool is_stream(CUstream stream);

// Refuses calls that are not allowed during a capture, such as those that wait or allocate.
CUresult forbid_capture();

CUresult launch_kernel(const Function& function, dim3 grid, dim3 block, unsigned dynamic_bytes, const void* buffer,
                       size_t bytes);

}  // namespace emulator

// Every entry point begins with this.
#define BEGIN(needs) \
  if (const CUresult begun = ::emulator::begin_call(__func__, ::emulator::Needs::needs)) return begun
