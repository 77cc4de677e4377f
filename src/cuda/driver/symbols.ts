// The functions of the CUDA driver API that are used, under their C names, with their prototypes from cuda.h of CUDA 13.0.
// Handles, device pointers and sizes are u64 and so always bigint, which is also the fastest way to pass them. Nothing here needs
// `Deno.UnsafePointer`, so a permission for the library's path is enough.

export const symbols = {
  cuInit: { parameters: ["u32"], result: "i32" }, // (unsigned int Flags)
  cuDriverGetVersion: { parameters: ["buffer"], result: "i32" }, // (int *driverVersion)

  cuDeviceGetCount: { parameters: ["buffer"], result: "i32" }, // (int *count)
  cuDeviceGet: { parameters: ["buffer", "i32"], result: "i32" }, // (CUdevice *device, int ordinal)
  cuDeviceGetName: { parameters: ["buffer", "i32", "i32"], result: "i32" }, // (char *name, int len, CUdevice dev)
  cuDeviceGetUuid_v2: { parameters: ["buffer", "i32"], result: "i32" }, // (CUuuid *uuid, CUdevice dev)
  cuDeviceTotalMem_v2: { parameters: ["buffer", "i32"], result: "i32" }, // (size_t *bytes, CUdevice dev)
  cuDeviceGetAttribute: { parameters: ["buffer", "i32", "i32"], result: "i32" }, // (int *pi, CUdevice_attribute attrib, CUdevice dev)
  cuDeviceGetDefaultMemPool: { parameters: ["buffer", "i32"], result: "i32" }, // (CUmemoryPool *pool_out, CUdevice dev)

  cuDevicePrimaryCtxRetain: { parameters: ["buffer", "i32"], result: "i32" }, // (CUcontext *pctx, CUdevice dev)
  cuDevicePrimaryCtxRelease_v2: { parameters: ["i32"], result: "i32" }, // (CUdevice dev)
  cuCtxSetCurrent: { parameters: ["u64"], result: "i32" }, // (CUcontext ctx)

  cuMemGetInfo_v2: { parameters: ["buffer", "buffer"], result: "i32" }, // (size_t *free, size_t *total)
  cuMemAllocAsync: { parameters: ["buffer", "usize", "u64"], result: "i32" }, // (CUdeviceptr *dptr, size_t bytesize, CUstream hStream)
  cuMemFreeAsync: { parameters: ["u64", "u64"], result: "i32" }, // (CUdeviceptr dptr, CUstream hStream)
  cuMemPoolSetAttribute: { parameters: ["u64", "i32", "buffer"], result: "i32" }, // (CUmemoryPool pool, CUmemPool_attribute attr, void *value)
  cuMemPoolTrimTo: { parameters: ["u64", "usize"], result: "i32" }, // (CUmemoryPool pool, size_t minBytesToKeep)
  cuMemcpyHtoDAsync_v2: { parameters: ["u64", "buffer", "usize", "u64"], result: "i32" }, // (CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount, CUstream hStream)
  cuMemcpyDtoHAsync_v2: { parameters: ["buffer", "u64", "usize", "u64"], result: "i32" }, // (void *dstHost, CUdeviceptr srcDevice, size_t ByteCount, CUstream hStream)
  cuMemcpyDtoDAsync_v2: { parameters: ["u64", "u64", "usize", "u64"], result: "i32" }, // (CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount, CUstream hStream)
  cuMemsetD8Async: { parameters: ["u64", "u8", "usize", "u64"], result: "i32" }, // (CUdeviceptr dstDevice, unsigned char uc, size_t N, CUstream hStream)
  cuMemHostRegister_v2: { parameters: ["buffer", "usize", "u32"], result: "i32" }, // (void *p, size_t bytesize, unsigned int Flags)
  cuMemHostGetDevicePointer_v2: { parameters: ["buffer", "buffer", "u32"], result: "i32" }, // (CUdeviceptr *pdptr, void *p, unsigned int Flags)
  cuMemHostUnregister: { parameters: ["buffer"], result: "i32" }, // (void *p)

  cuModuleLoadData: { parameters: ["buffer", "buffer"], result: "i32" }, // (CUmodule *module, const void *image)
  cuModuleUnload: { parameters: ["u64"], result: "i32" }, // (CUmodule hmod)
  cuModuleGetFunction: { parameters: ["buffer", "u64", "buffer"], result: "i32" }, // (CUfunction *hfunc, CUmodule hmod, const char *name)
  cuFuncSetAttribute: { parameters: ["u64", "i32", "i32"], result: "i32" }, // (CUfunction hfunc, CUfunction_attribute attrib, int value)
  cuLaunchKernelEx: { parameters: ["buffer", "u64", "buffer", "buffer"], result: "i32" }, // (const CUlaunchConfig *config, CUfunction f, void **kernelParams, void **extra)

  cuTensorMapEncodeTiled: {
    parameters: ["buffer", "i32", "u32", "u64", "buffer", "buffer", "buffer", "buffer", "i32", "i32", "i32", "i32"],
    result: "i32",
  }, // (CUtensorMap *tensorMap, CUtensorMapDataType tensorDataType, cuuint32_t tensorRank, void *globalAddress, const cuuint64_t *globalDim, const cuuint64_t *globalStrides, const cuuint32_t *boxDim, const cuuint32_t *elementStrides, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion l2Promotion, CUtensorMapFloatOOBfill oobFill)

  cuStreamCreate: { parameters: ["buffer", "u32"], result: "i32" }, // (CUstream *phStream, unsigned int Flags)
  cuStreamCreateWithPriority: { parameters: ["buffer", "u32", "i32"], result: "i32" }, // (CUstream *phStream, unsigned int flags, int priority)
  cuStreamWaitEvent: { parameters: ["u64", "u64", "u32"], result: "i32" }, // (CUstream hStream, CUevent hEvent, unsigned int Flags)
  cuStreamDestroy_v2: { parameters: ["u64"], result: "i32" }, // (CUstream hStream)
  cuStreamSynchronize: { parameters: ["u64"], result: "i32" }, // (CUstream hStream)
  cuStreamBeginCapture_v2: { parameters: ["u64", "i32"], result: "i32" }, // (CUstream hStream, CUstreamCaptureMode mode)
  cuStreamEndCapture: { parameters: ["u64", "buffer"], result: "i32" }, // (CUstream hStream, CUgraph *phGraph)

  cuEventCreate: { parameters: ["buffer", "u32"], result: "i32" }, // (CUevent *phEvent, unsigned int Flags)
  cuEventDestroy_v2: { parameters: ["u64"], result: "i32" }, // (CUevent hEvent)
  cuEventRecord: { parameters: ["u64", "u64"], result: "i32" }, // (CUevent hEvent, CUstream hStream)
  cuEventSynchronize: { parameters: ["u64"], result: "i32" }, // (CUevent hEvent)
  cuEventElapsedTime_v2: { parameters: ["buffer", "u64", "u64"], result: "i32" }, // (float *pMilliseconds, CUevent hStart, CUevent hEnd)

  cuGraphInstantiateWithFlags: { parameters: ["buffer", "u64", "u64"], result: "i32" }, // (CUgraphExec *phGraphExec, CUgraph hGraph, unsigned long long flags)
  cuGraphLaunch: { parameters: ["u64", "u64"], result: "i32" }, // (CUgraphExec hGraphExec, CUstream hStream)
  cuGraphDestroy: { parameters: ["u64"], result: "i32" }, // (CUgraph hGraph)
  cuGraphExecDestroy: { parameters: ["u64"], result: "i32" }, // (CUgraphExec hGraphExec)

  // libc's memcpy, which is found because the library depends on libc. With a length of 0 it only returns its first argument,
  // which is the address of a buffer. The launch arguments contain such addresses.
  addressOf: { name: "memcpy", parameters: ["buffer", "buffer", "usize"], result: "u64" },
} as const satisfies Deno.ForeignLibraryInterface;
