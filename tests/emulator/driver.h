// What the driver's parts share: how a call begins and ends, and the handles that are live.
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

// Counts a call, and says how it must fail before it has begun: by an injected fault, without cuInit, in a context that a
// kernel has spoilt, or without one.
CUresult begin_call(const char* name, Needs needs);

// Keeps the reason of a refused call for emu_report().
CUresult refuse(CUresult result, const std::string& reason);

// What a kernel has left behind, for all later calls.
CUresult& sticky_error();

// ---- The device and what is live on it

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
  double milliseconds = -1;  // of the record; negative before
};

// Handles of every kind, by what they point to. All goes with the context.
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

// Does something in a stream's order: at once, or when the graph that the stream captures is launched.
CUresult enqueue(CUstream stream, std::function<CUresult()> work);

// Whether a handle is live; the null stream is.
bool is_stream(CUstream stream);

// For calls that wait, or allocate, or otherwise may not come in a capture.
CUresult forbid_capture();

CUresult launch_kernel(const Function& function, dim3 grid, dim3 block, unsigned dynamic_bytes, const void* buffer,
                       size_t bytes);

}  // namespace emulator

// How every entry point begins.
#define BEGIN(needs) \
  if (const CUresult begun = ::emulator::begin_call(__func__, ::emulator::Needs::needs)) return begun
