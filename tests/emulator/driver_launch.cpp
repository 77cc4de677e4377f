// Modules and launches. Every launch is checked against the description of the kernel in the real cubin.
#include <cstring>

#include "driver.h"

namespace emulator {
namespace {

Function* as_function(CUfunction handle) {
  for (auto& [module, owned] : live().modules) {
    for (auto& [name, function] : module->functions) {
      if (&function == reinterpret_cast<Function*>(handle)) return &function;
    }
  }
  return nullptr;
}

size_t argument_bytes(const Function& function) {
  return function.parameters.empty() ? 0 : function.parameters.back().offset + function.parameters.back().size;
}

// Finds the packed arguments in the tagged values of cuLaunchKernelEx's last parameter.
CUresult unpack(void** extra, const Function& function, std::vector<unsigned char>& arguments) {
  const void* buffer = nullptr;
  size_t bytes = 0;
  for (void** item = extra; *item != CU_LAUNCH_PARAM_END; item += 2) {
    if (*item == CU_LAUNCH_PARAM_BUFFER_POINTER) {
      buffer = item[1];
    } else if (*item == CU_LAUNCH_PARAM_BUFFER_SIZE) {
      bytes = *static_cast<size_t*>(item[1]);
    } else {
      return refuse(CUDA_ERROR_INVALID_VALUE, "an unknown tag in the extra values of a launch");
    }
  }
  if (bytes != argument_bytes(function)) {
    return refuse(CUDA_ERROR_INVALID_VALUE, function.name + ": the argument buffer has " + std::to_string(bytes) +
                                                " bytes, the cubin expects " +
                                                std::to_string(argument_bytes(function)));
  }
  const auto* const begin = static_cast<const unsigned char*>(buffer);
  arguments.assign(begin, begin + bytes);
  return CUDA_SUCCESS;
}

CUresult check_shape(const Function& function, dim3 grid, dim3 block, unsigned dynamic_bytes) {
  const auto invalid = [&](const char* reason) {
    return refuse(CUDA_ERROR_INVALID_VALUE, function.name + ": " + reason);
  };
  if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    return invalid("an invalid grid");
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (!threads || threads > 1024 || block.z > 64) return invalid("an invalid block");
  if (threads > function.max_threads) {
    return refuse(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, function.name + ": more threads than its launch bounds allow");
  }
  if ((function.registers + 7) / 8 * 8 * ((threads + 31) / 32 * 32) > 65536) {
    return refuse(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, function.name + ": more registers than a multiprocessor has");
  }
  if (dynamic_bytes > function.dynamic_limit) {
    return invalid("more dynamic shared memory than cuFuncSetAttribute has set");
  }
  return CUDA_SUCCESS;
}

// Whether a launch has the attribute by which the kernel may start before the kernel before it is complete.
CUresult read_attributes(const CUlaunchConfig& config, const Function& function, bool& overlaps) {
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    if (config.attrs[i].id != CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION) {
      return refuse(CUDA_ERROR_INVALID_VALUE, function.name + ": an unknown launch attribute");
    }
    overlaps = config.attrs[i].value.programmaticStreamSerializationAllowed;
  }
  if (overlaps && device().architecture < 90) {
    return refuse(CUDA_ERROR_NOT_SUPPORTED, function.name + ": programmatic dependent launch requires sm_90");
  }
  if (overlaps && !function.waits) {
    return refuse(CUDA_ERROR_INVALID_VALUE,
                  function.name + ": a kernel that does not wait for the kernel before it must not overlap it");
  }
  return CUDA_SUCCESS;
}

}  // namespace

CUresult launch_kernel(const Function& function, dim3 grid, dim3 block, unsigned dynamic_bytes, const void* buffer,
                       size_t bytes, bool overlaps) {
  // The device's parameter memory aligns the first parameter to 64 bytes if its type demands it; so does this copy.
  constexpr size_t kAlignment = 64;
  const size_t first = function.parameters.empty() ? 0 : function.parameters.front().offset;
  std::vector<unsigned char> memory(bytes + 2 * kAlignment);
  auto* begin = memory.data();
  while ((reinterpret_cast<uintptr_t>(begin) + first) % kAlignment) ++begin;
  memcpy(begin, buffer, bytes);
  std::vector<void*> pointers;
  for (const auto& parameter : function.parameters) pointers.push_back(begin + parameter.offset);
  const int fault = run({function.kernel, grid, block, dynamic_bytes, pointers.data(), begin, bytes, overlaps});
  if (fault) sticky_error() = static_cast<CUresult>(fault);  // the next call reports it, as on hardware
  return CUDA_SUCCESS;
}

}  // namespace emulator

using namespace emulator;

#pragma GCC visibility push(default)
extern "C" {
CUresult cuModuleLoadData(CUmodule* handle, const void* image) {
  BEGIN(kContext);
  if (!image) return CUDA_ERROR_INVALID_VALUE;
  auto module = std::make_unique<Module>();
  std::string problem;
  if (const CUresult result =
          read_image(static_cast<const unsigned char*>(image), device().architecture, *module, problem)) {
    return refuse(result, problem);
  }
  *handle = reinterpret_cast<CUmodule>(module.get());
  live().modules[module.get()] = std::move(module);
  return CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule handle) {
  BEGIN(kContext);
  return live().modules.erase(reinterpret_cast<Module*>(handle)) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuModuleGetFunction(CUfunction* handle, CUmodule module, const char* name) {
  BEGIN(kContext);
  const auto owner = live().modules.find(reinterpret_cast<Module*>(module));
  if (owner == live().modules.end()) return CUDA_ERROR_INVALID_HANDLE;
  const auto function = owner->first->functions.find(name);
  if (function == owner->first->functions.end()) return CUDA_ERROR_NOT_FOUND;
  *handle = reinterpret_cast<CUfunction>(&function->second);
  return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute, int value) {
  BEGIN(kContext);
  Function* const function = as_function(handle);
  if (!function) return CUDA_ERROR_INVALID_HANDLE;
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) return CUDA_ERROR_INVALID_VALUE;
  if (value < 0 || value + static_cast<int>(function->static_bytes) > device().shared_bytes_per_block) {
    return refuse(CUDA_ERROR_INVALID_VALUE, function->name + ": more shared memory than a block can have");
  }
  function->dynamic_limit = value;
  return CUDA_SUCCESS;
}

CUresult cuFuncGetParamInfo(CUfunction handle, size_t index, size_t* offset, size_t* size) {
  BEGIN(kContext);
  const Function* const function = as_function(handle);
  if (!function) return CUDA_ERROR_INVALID_HANDLE;
  if (index >= function->parameters.size()) return CUDA_ERROR_INVALID_VALUE;
  *offset = function->parameters[index].offset;
  if (size) *size = function->parameters[index].size;
  return CUDA_SUCCESS;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction handle, void** pointers, void** extra) {
  BEGIN(kContext);
  const CUstream stream = config->hStream;
  const Function* const function = as_function(handle);
  if (!function || !is_stream(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (pointers && extra) return refuse(CUDA_ERROR_INVALID_VALUE, "both kernelParams and extra are given");
  const dim3 grid(config->gridDimX, config->gridDimY, config->gridDimZ);
  const dim3 block(config->blockDimX, config->blockDimY, config->blockDimZ);
  const unsigned dynamic_bytes = config->sharedMemBytes;
  if (const CUresult result = check_shape(*function, grid, block, dynamic_bytes)) return result;
  bool overlaps = false;
  if (const CUresult result = read_attributes(*config, *function, overlaps)) return result;
  std::vector<unsigned char> arguments(argument_bytes(*function));
  if (extra) {
    if (const CUresult result = unpack(extra, *function, arguments)) return result;
  } else if (pointers) {
    for (size_t i = 0; i < function->parameters.size(); ++i) {
      memcpy(arguments.data() + function->parameters[i].offset, pointers[i], function->parameters[i].size);
    }
  } else if (!arguments.empty()) {
    return refuse(CUDA_ERROR_INVALID_VALUE, function->name + ": arguments are missing");
  }
  return enqueue(stream, [=] {
    return launch_kernel(*function, grid, block, dynamic_bytes, arguments.data(), arguments.size(), overlaps);
  });
}
}
#pragma GCC visibility pop
