// What the emulated driver puts into the 128 bytes of a CUtensorMap, whose real contents nobody tells.
#pragma once
#include <cstdint>

namespace emulator {

struct TensorMap {
  enum Kind : uint32_t { kEncoded = 0x6d617073, kCopied };  // kCopied: by the kernel, to where no copy can find it
  uint32_t kind;
  uint8_t rank, element_bytes, swizzle_bytes;  // swizzle_bytes: 0 for none
  uint64_t address;
  uint64_t sizes[5], strides[5];  // in elements, in bytes; the innermost first
  uint16_t box[5];
};
static_assert(sizeof(TensorMap) <= 128, "a CUtensorMap must hold it");

}  // namespace emulator
