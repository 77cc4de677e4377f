// Memory: allocations, copies, fills, pools, registered host memory.
#include <cstring>

#include "driver.h"

namespace emulator {
namespace {

char pool_object;
const CUmemoryPool kPool = reinterpret_cast<CUmemoryPool>(&pool_object);

CUresult allocate(CUdeviceptr* address, size_t bytes) {
  if (bytes == 0) return refuse(CUDA_ERROR_INVALID_VALUE, "an allocation of zero bytes");
  if (global_live_bytes() + bytes > device_memory()) return CUDA_ERROR_OUT_OF_MEMORY;
  *address = global_allocate(bytes);
  if (*address == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  live().allocations.insert(*address);
  return CUDA_SUCCESS;
}

CUresult release(CUdeviceptr address) {
  if (!global_free(address))
    return refuse(CUDA_ERROR_INVALID_VALUE, "the freed address is not allocated, or was freed before");
  live().allocations.erase(address);
  return CUDA_SUCCESS;
}

// Checks a range of device memory before the host uses it.
CUresult check_range(const char* use, CUdeviceptr address, size_t bytes, bool need_written) {
  const char* const problem = global_problem(address, bytes, need_written);
  if (!problem) return CUDA_SUCCESS;
  return refuse(CUDA_ERROR_INVALID_VALUE, std::string(use) + ": the device memory " + problem);
}

CUresult copy_to_device(CUdeviceptr to, const void* from, size_t bytes) {
  if (const CUresult problem = check_range("a copy to the device", to, bytes, false)) return problem;
  memcpy(reinterpret_cast<void*>(to), from, bytes);
  global_written_by_host(to, bytes);
  return CUDA_SUCCESS;
}

CUresult copy_to_host(void* to, CUdeviceptr from, size_t bytes) {
  if (const CUresult problem = check_range("a copy to the host", from, bytes, true)) return problem;
  memcpy(to, reinterpret_cast<const void*>(from), bytes);
  return CUDA_SUCCESS;
}

CUresult fill(CUdeviceptr to, unsigned char value, size_t bytes) {
  if (const CUresult problem = check_range("a fill", to, bytes, false)) return problem;
  memset(reinterpret_cast<void*>(to), value, bytes);
  global_written_by_host(to, bytes);
  return CUDA_SUCCESS;
}

}  // namespace
}  // namespace emulator

using namespace emulator;

#pragma GCC visibility push(default)
extern "C" {
CUresult cuMemGetInfo_v2(size_t* free, size_t* total) {
  BEGIN(kContext);
  *total = device_memory();
  *free = device_memory() - global_live_bytes();
  return CUDA_SUCCESS;
}

CUresult cuMemAlloc_v2(CUdeviceptr* address, size_t bytes) {
  BEGIN(kContext);
  if (const CUresult captured = forbid_capture()) return captured;
  return allocate(address, bytes);
}

CUresult cuMemFree_v2(CUdeviceptr address) {
  BEGIN(kContext);
  if (const CUresult captured = forbid_capture()) return captured;
  return release(address);
}

CUresult cuMemAllocAsync(CUdeviceptr* address, size_t bytes, CUstream stream) {
  BEGIN(kContext);
  if (!is_stream(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (const CUresult captured = forbid_capture())
    return captured;  // a real driver adds a node to the graph, which is not emulated
  return allocate(address, bytes);
}

CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
  BEGIN(kContext);
  if (!is_stream(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (const CUresult captured = forbid_capture()) return captured;
  return release(address);
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool* pool, CUdevice) {
  BEGIN(kInit);
  *pool = kPool;
  return CUDA_SUCCESS;
}

CUresult cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void*) {
  BEGIN(kContext);
  return pool == kPool && attribute == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t) {
  BEGIN(kContext);
  return pool == kPool ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
  BEGIN(kContext);
  return enqueue(stream, [=] { return copy_to_device(to, from, bytes); });
}

CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
  BEGIN(kContext);
  return enqueue(stream, [=] { return copy_to_host(to, from, bytes); });
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  BEGIN(kContext);
  return enqueue(stream, [=] {
    std::vector<unsigned char> copy(bytes);
    const CUresult result = copy_to_host(copy.data(), from, bytes);
    return result ? result : copy_to_device(to, copy.data(), bytes);
  });
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) {
  BEGIN(kContext);
  if (const CUresult captured = forbid_capture()) return captured;
  return copy_to_device(to, from, bytes);
}

CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) {
  BEGIN(kContext);
  if (const CUresult captured = forbid_capture()) return captured;
  return copy_to_host(to, from, bytes);
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream) {
  BEGIN(kContext);
  return enqueue(stream, [=] { return fill(to, value, bytes); });
}

CUresult cuMemHostRegister_v2(void* address, size_t bytes, unsigned) {
  BEGIN(kContext);
  if (!address || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (!live().registered.emplace(address, bytes).second) return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  return CUDA_SUCCESS;
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr* pointer, void* address, unsigned flags) {
  BEGIN(kContext);
  if (flags != 0 || !live().registered.count(address)) return CUDA_ERROR_INVALID_VALUE;
  *pointer = reinterpret_cast<CUdeviceptr>(address);
  return CUDA_SUCCESS;
}

CUresult cuMemHostUnregister(void* address) {
  BEGIN(kContext);
  return live().registered.erase(address) ? CUDA_SUCCESS : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
}
}
#pragma GCC visibility pop
