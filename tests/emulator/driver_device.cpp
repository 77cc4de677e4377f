// Devices and their primary context.
#include <cstring>

#include "driver.h"

#ifndef EMULATED_ARCHITECTURE
#error "define EMULATED_ARCHITECTURE, such as 80"
#endif

namespace emulator {
namespace {

constexpr int kKib = 1024;
// Compute capability, name, multiprocessors (few: blocks run one after the other), shared memory of a multiprocessor, of a block
constexpr Device kDevices[] = {
    {75, "Emulated sm_75", 4, 64 * kKib, 64 * kKib},    {80, "Emulated sm_80", 4, 164 * kKib, 163 * kKib},
    {86, "Emulated sm_86", 4, 100 * kKib, 99 * kKib},   {89, "Emulated sm_89", 4, 100 * kKib, 99 * kKib},
    {90, "Emulated sm_90", 4, 228 * kKib, 227 * kKib},  {100, "Emulated sm_100", 4, 228 * kKib, 227 * kKib},
    {120, "Emulated sm_120", 4, 100 * kKib, 99 * kKib},
};

char context_object;  // the address of this object is the handle of the only context
const CUcontext kContext = reinterpret_cast<CUcontext>(&context_object);
thread_local CUcontext current_context;

bool is_device(CUdevice number) { return number >= 0 && number < device_count(); }

// Ends the primary context, with all its objects and the error of a faulty kernel.
void destroy_context() {
  for (const uint64_t address : live().allocations) global_free(address);
  live() = {};
  sticky_error() = CUDA_SUCCESS;
}

}  // namespace

const Device& device() {
  for (const Device& candidate : kDevices) {
    if (candidate.architecture == EMULATED_ARCHITECTURE) return candidate;
  }
  return kDevices[0];
}

Live& live() {
  static Live handles;
  return handles;
}

bool has_current_context() { return current_context && live().contexts > 0; }

bool checked() {
#ifdef EMULATOR_CHECKED
  return true;
#else
  return false;
#endif
}

}  // namespace emulator

using namespace emulator;

#pragma GCC visibility push(default)
extern "C" {
CUresult cuInit(unsigned flags) {
  BEGIN(kNothing);
  if (flags) return CUDA_ERROR_INVALID_VALUE;
  return device_count() ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}

CUresult cuDriverGetVersion(int* version) {
  BEGIN(kNothing);
  *version = driver_version();
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int* count) {
  BEGIN(kInit);
  *count = device_count();
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  BEGIN(kInit);
  if (!is_device(ordinal)) return CUDA_ERROR_INVALID_DEVICE;
  *device = ordinal;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char* name, int length, CUdevice number) {
  BEGIN(kInit);
  if (!is_device(number) || length <= 0) return CUDA_ERROR_INVALID_VALUE;
  strncpy(name, device().name, length - 1);
  name[length - 1] = 0;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice number) {
  BEGIN(kInit);
  if (!is_device(number)) return CUDA_ERROR_INVALID_DEVICE;
  memset(uuid, 0xe0 + number, sizeof *uuid);
  return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice number) {
  BEGIN(kInit);
  if (!is_device(number)) return CUDA_ERROR_INVALID_DEVICE;
  *bytes = device_memory();
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice number) {
  BEGIN(kInit);
  if (!is_device(number)) return CUDA_ERROR_INVALID_DEVICE;
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: *value = 1000000; break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = device().multiprocessors; break;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: *value = 1000000; break;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: *value = 256; break;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: *value = 4 << 20; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = device().architecture / 10; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = device().architecture % 10; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: *value = device().shared_bytes; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *value = device().shared_bytes_per_block; break;
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: *value = 1; break;
    default: return refuse(CUDA_ERROR_INVALID_VALUE, "this attribute is not emulated");
  }
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice number) {
  BEGIN(kInit);
  if (!is_device(number)) return CUDA_ERROR_INVALID_DEVICE;
  ++live().contexts;
  *context = kContext;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice number) {
  BEGIN(kInit);
  if (!is_device(number)) return CUDA_ERROR_INVALID_DEVICE;
  if (live().contexts == 0) return CUDA_ERROR_INVALID_CONTEXT;
  if (--live().contexts == 0) destroy_context();
  return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
  BEGIN(kInit);
  if (context && (context != kContext || live().contexts == 0)) return CUDA_ERROR_INVALID_CONTEXT;
  current_context = context;
  return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize() {
  BEGIN(kContext);
  return forbid_capture();
}
}
#pragma GCC visibility pop
