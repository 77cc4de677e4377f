// Tensor maps: what the driver demands of them, and of that what is emulated.
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

// The bytes within which a mode swizzles; negative where it is not emulated.
int swizzle_bytes(CUtensorMapSwizzle swizzle) {
  switch (swizzle) {
    case CU_TENSOR_MAP_SWIZZLE_NONE: return 0;
    case CU_TENSOR_MAP_SWIZZLE_32B: return 32;
    case CU_TENSOR_MAP_SWIZZLE_64B: return 64;
    case CU_TENSOR_MAP_SWIZZLE_128B: return 128;
    default: return -1;
  }
}

// The rules of cuda.h at cuTensorMapEncodeTiled. Why a map is refused, or null.
const char* problem(const TensorMap& map, const cuuint32_t* box, const cuuint32_t* element_strides) {
  if (map.address == 0 || map.address % 16) return "the address is no multiple of 16";
  for (int d = 0; d < map.rank; ++d) {
    if (map.sizes[d] == 0 || map.sizes[d] > 1ull << 32) return "a size is not from 1 to 2^32";
    if (box[d] == 0 || box[d] > 256) return "a size of the box is not from 1 to 256";
    if (element_strides[d] == 0 || element_strides[d] > 8) return "an element stride is not from 1 to 8";
    if (d > 0 && (map.strides[d] % 16 || map.strides[d] >= 1ull << 40))
      return "a stride is no multiple of 16 below 2^40";
    if (d > 0 && element_strides[d] != 1) return "an element stride that is not emulated";
  }
  const unsigned row_bytes = box[0] * map.element_bytes;
  if (row_bytes % 16) return "the box's rows are no multiple of 16 bytes";
  if (map.swizzle_bytes && row_bytes > map.swizzle_bytes) return "the box's rows are longer than what is swizzled";
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
  if (device().architecture < 90) return invalid("the GPU has none");
  if (reinterpret_cast<uintptr_t>(out) % 64) return invalid("it does not lie at a multiple of 64");
  if (rank < 1 || rank > 5) return invalid("not of 1 to 5 dimensions");
  if (promotion > CU_TENSOR_MAP_L2_PROMOTION_L2_256B) return invalid("an unknown promotion");
  if (element_bytes(type) == 0) return invalid("a data type that is not emulated");
  if (interleave != CU_TENSOR_MAP_INTERLEAVE_NONE) return invalid("an interleaving that is not emulated");
  if (swizzle_bytes(swizzle) < 0) return invalid("a swizzling that is not emulated");
  if (fill != CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) return invalid("a fill that is not emulated");

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
