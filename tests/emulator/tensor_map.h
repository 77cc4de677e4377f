// The contents of a CUtensorMap's 128 bytes in the emulator. The real contents are not documented.
#pragma once
#include <cstdint>

namespace emulator {

struct TensorMap {
  enum Kind : uint32_t { kEncoded = 0x6d617073, kCopied };  // kCopied: by the kernel, into local memory
  uint32_t kind;
  uint8_t rank, element_bytes, swizzle_bytes;  // swizzle_bytes: 0 if not swizzled
  uint64_t address;
  uint64_t sizes[5], strides[5];  // in elements and in bytes, the innermost first
  uint16_t box[5];
};
static_assert(sizeof(TensorMap) <= 128, "a CUtensorMap must hold it");

}  // namespace emulator
