// Tensor maps: checks what the driver requires and what the emulator supports.
#include <cstring>

#include "driver.h"
#include "tensor_map.h"

namespace emulator {
namespace {

int element_bytes(CUtensorMapDataType type) {
  switch (type) {
    case CU_TENSOR_MAP_DATA_TYPE_UINT16:
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT16:
    case CU_TENSOR_MAP_DATA_TYPE_BFLOAT16: return 2;
    case CU_TENSOR_MAP_DATA_TYPE_UINT32:
    case CU_TENSOR_MAP_DATA_TYPE_INT32:
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT32: return 4;
    default: return 0;
  }
}

// Returns the span of a swizzling mode in bytes, or a negative number if it is not emulated.
int swizzle_bytes(CUtensorMapSwizzle swizzle) {
  switch (swizzle) {
    case CU_TENSOR_MAP_SWIZZLE_NONE: return 0;
    case CU_TENSOR_MAP_SWIZZLE_32B: return 32;
    case CU_TENSOR_MAP_SWIZZLE_64B: return 64;
    case CU_TENSOR_MAP_SWIZZLE_128B: return 128;
    default: return -1;
  }
}

// Returns why a map is refused, or null. The rules are those of cuTensorMapEncodeTiled in cuda.h.
const char* problem(const TensorMap& map, const cuuint32_t* box, const cuuint32_t* element_strides) {
  if (map.address == 0 || map.address % 16) return "the address must be a multiple of 16";
  for (int d = 0; d < map.rank; ++d) {
    if (map.sizes[d] == 0 || map.sizes[d] > 1ull << 32) return "a size must be from 1 to 2^32";
    if (box[d] == 0 || box[d] > 256) return "a size of the box must be from 1 to 256";
    if (element_strides[d] == 0 || element_strides[d] > 8) return "an element stride must be from 1 to 8";
    if (d > 0 && (map.strides[d] % 16 || map.strides[d] >= 1ull << 40))
      return "a stride must be a multiple of 16 below 2^40";
    if (d > 0 && element_strides[d] != 1) return "this element stride is not emulated";
  }
  const unsigned row_bytes = box[0] * map.element_bytes;
  if (row_bytes % 16) return "the rows of the box must be a multiple of 16 bytes";
  if (map.swizzle_bytes && row_bytes > map.swizzle_bytes) return "the rows of the box are longer than the swizzle";
  return nullptr;
}

}  // namespace
}  // namespace emulator

using namespace emulator;

#pragma GCC visibility push(default)
extern "C" CUresult cuTensorMapEncodeTiled(CUtensorMap* out, CUtensorMapDataType type, cuuint32_t rank, void* address,
                                           const cuuint64_t* sizes, const cuuint64_t* strides, const cuuint32_t* box,
                                           const cuuint32_t* element_strides, CUtensorMapInterleave interleave,
                                           CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                                           CUtensorMapFloatOOBfill fill) {
  BEGIN(kContext);
  const auto invalid = [](const char* reason) {
    return refuse(CUDA_ERROR_INVALID_VALUE, std::string("a tensor map: ") + reason);
  };
  if (device().architecture < 90) return invalid("the GPU does not support tensor maps");
  if (reinterpret_cast<uintptr_t>(out) % 64) return invalid("its address must be a multiple of 64");
  if (rank < 1 || rank > 5) return invalid("the number of dimensions must be from 1 to 5");
  if (promotion > CU_TENSOR_MAP_L2_PROMOTION_L2_256B) return invalid("an unknown promotion");
  if (element_bytes(type) == 0) return invalid("this data type is not emulated");
  if (interleave != CU_TENSOR_MAP_INTERLEAVE_NONE) return invalid("this interleaving is not emulated");
  if (swizzle_bytes(swizzle) < 0) return invalid("this swizzling is not emulated");
  if (fill != CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) return invalid("this fill is not emulated");

  TensorMap map{TensorMap::kEncoded,
                static_cast<uint8_t>(rank),
                static_cast<uint8_t>(element_bytes(type)),
                static_cast<uint8_t>(swizzle_bytes(swizzle)),
                reinterpret_cast<uint64_t>(address),
                {},
                {},
                {}};
  for (unsigned d = 0; d < rank; ++d) {
    map.sizes[d] = sizes[d];
    map.strides[d] = d ? strides[d - 1] : map.element_bytes;
    map.box[d] = static_cast<uint16_t>(box[d]);
  }
  if (const char* const reason = problem(map, box, element_strides)) return invalid(reason);
  memset(out, 0, sizeof *out);
  memcpy(out, &map, sizeof map);
  return CUDA_SUCCESS;
}
#pragma GCC visibility pop
