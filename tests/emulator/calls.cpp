// The start of every driver call: counts it, logs it and makes it fail on demand. Also the interface by which tests control the
// emulator.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "driver.h"

namespace emulator {
namespace {

struct Settings {
  int devices = 1, version = 13000;
  size_t memory = 8ull << 30;
};
Settings settings;

struct Fault {
  long call = 0;  // counted from 1; 0 means none
  int code = 0;
  bool persistent = false;
};
Fault planned;
long calls;
std::string failed_call, log_text, refusal;
bool initialised;

// The environment variable YAMOE_EMULATOR="name=value,…" controls the emulator of a program that cannot call the interface.
void read_environment() {
  const char* const text = getenv("YAMOE_EMULATOR");
  if (!text) return;
  std::string copy = text;
  for (char* item = strtok(copy.data(), ","); item; item = strtok(nullptr, ",")) {
    char* const value = strchr(item, '=');
    if (!value) continue;
    *value = 0;
    const long long number = atoll(value + 1);
    if (!strcmp(item, "devices")) settings.devices = number;
    if (!strcmp(item, "version")) settings.version = number;
    if (!strcmp(item, "memory")) settings.memory = number;
    if (!strcmp(item, "fail")) planned.call = number;
    if (!strcmp(item, "code")) planned.code = number;
    if (!strcmp(item, "persistent")) planned.persistent = number;
    if (!strcmp(item, "seed")) set_schedule(number, 0);
  }
}

__attribute__((constructor)) void start() { read_environment(); }

}  // namespace

CUresult& sticky_error() {
  static CUresult error = CUDA_SUCCESS;
  return error;
}

int device_count() { return settings.devices; }
int driver_version() { return settings.version; }
size_t device_memory() { return settings.memory; }

CUresult begin_call(const char* name, Needs needs) {
  ++calls;
  log_text += std::string(name) + "\n";
  if (planned.call && (calls == planned.call || (planned.persistent && calls > planned.call))) {
    failed_call = name;
    return static_cast<CUresult>(planned.code);
  }
  if (!strcmp(name, "cuInit")) initialised = true;
  if (needs == Needs::kNothing) return CUDA_SUCCESS;
  if (!initialised) return CUDA_ERROR_NOT_INITIALIZED;
  if (needs == Needs::kInit) return CUDA_SUCCESS;
  if (!has_current_context()) return CUDA_ERROR_INVALID_CONTEXT;
  return sticky_error();
}

CUresult refuse(CUresult result, const std::string& reason) {
  refusal = reason;
  return result;
}

}  // namespace emulator

#pragma GCC visibility push(default)
extern "C" {
using namespace emulator;

int emu_checked() { return checked(); }

// Resets settings, faults, logs and counters. Live objects stay live.
void emu_reset() {
  settings = {};
  planned = {};
  calls = 0;
  failed_call.clear();
  log_text.clear();
  refusal.clear();
  report().clear();
  all_counters().clear();
  set_schedule(0, 0);
  set_ticket_limit(0);
  set_reuse(false);
  set_step_limit(0);
  read_environment();
}

void emu_schedule(unsigned seed, unsigned preempt, unsigned tickets) {
  set_schedule(seed, preempt);
  set_ticket_limit(tickets);
}
void emu_reuse_addresses(int reuse) { set_reuse(reuse); }
void emu_devices(int count) { settings.devices = count; }
void emu_driver_version(int version) { settings.version = version; }
void emu_memory(uint64_t bytes) { settings.memory = bytes; }

// Sets the limit of accesses, barriers and collectives of a launch; 0 means no limit. Returns the maximum since the last call.
uint64_t emu_limit_steps(uint64_t limit) { return set_step_limit(limit); }

// Makes the `call`-th call from now fail (1 is the next one), and with `persistent` all later calls too.
void emu_fail(long call, int code, int persistent) {
  planned = {call, code, persistent != 0};
  calls = 0;
  failed_call.clear();
}
long emu_calls() { return calls; }

namespace {
uint64_t put(const std::string& text, char* out, uint64_t capacity) {
  if (capacity) snprintf(out, capacity, "%s", text.c_str());
  return text.size();
}
}  // namespace

uint64_t emu_failed_call(char* out, uint64_t capacity) { return put(failed_call, out, capacity); }
uint64_t emu_log(char* out, uint64_t capacity) { return put(log_text, out, capacity); }
uint64_t emu_report(char* out, uint64_t capacity) { return put(report().empty() ? refusal : report(), out, capacity); }

// Lists the live objects, one line for each kind.
uint64_t emu_live(char* out, uint64_t capacity) {
  std::string text;
  const auto add = [&](const char* kind, size_t count) {
    if (count) text += std::string(kind) + " " + std::to_string(count) + "\n";
  };
  add("contexts", live().contexts);
  add("streams", live().streams.size());
  add("events", live().events.size());
  add("modules", live().modules.size());
  add("graphs", live().graphs.size());
  add("executable graphs", live().executables.size());
  add("registered host memory", live().registered.size());
  add("allocations", live().allocations.size());
  return put(text, out, capacity);
}

// Writes a kernel's counters in the order of the structure. They are zeros if it never ran.
void emu_counters(const char* kernel, uint64_t* out) {
  const auto it = all_counters().find(kernel);
  const Counters counters = it == all_counters().end() ? Counters{} : it->second;
  memcpy(out, &counters, sizeof counters);
}
}
#pragma GCC visibility pop
