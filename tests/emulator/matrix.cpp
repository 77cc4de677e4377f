// The tensor cores' instructions. Products of 16-bit elements are exact in f32. The sums are f32, rounded after each addition, in
// ascending order of the depth. Hardware adds in its own order and truncates, so its results differ by some units in the last place.
#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "runtime.h"

namespace emulator {
namespace {

struct LoadRecord {
  uint32_t* out;
  const unsigned char* row;
  bool transpose;
};

struct MultiplyRecord {
  float* c;
  const uint32_t *a, *b;
  Widen widen;
};

// PTX ISA, "ldmatrix": lane l passes the address of row l % 8 of matrix l / 8. It receives elements 2 (l % 4) and 2 (l % 4) + 1 of
// row l / 4 of each matrix, or of the column if transposed.
void load_for_warp(void** records, unsigned, Where) {
  for (int matrix = 0; matrix < 4; ++matrix) {
    uint16_t m[8][8];
    std::set<const unsigned char*> rows_in_bank_group[8];  // equal rows are read once
    size_t passes = 0;
    for (int r = 0; r < 8; ++r) {
      const unsigned char* const row = static_cast<LoadRecord*>(records[matrix * 8 + r])->row;
      memcpy(m[r], row, 16);
      auto& group = rows_in_bank_group[reinterpret_cast<uintptr_t>(row) / 16 % 8];
      group.insert(row);
      passes = std::max(passes, group.size());
    }
    counters().bank_conflicts += passes - 1;
    for (int l = 0; l < 32; ++l) {
      const auto* const record = static_cast<LoadRecord*>(records[l]);
      const int i = l / 4, j = l % 4 * 2;
      const uint16_t low = record->transpose ? m[j][i] : m[i][j], high = record->transpose ? m[j + 1][i] : m[i][j + 1];
      record->out[matrix] = low | static_cast<uint32_t>(high) << 16;
    }
  }
  ++counters().matrix_loads;
}

// PTX ISA, "Matrix Fragments for mma.m16n8k16".
void multiply_for_warp(void** records, unsigned, Where) {
  alignas(32) float a[16][16], b[16][8], c[16][8];
  const Widen widen = static_cast<MultiplyRecord*>(records[0])->widen;
  const auto unpack = [widen](uint32_t pair, float& low, float& high) {
    low = widen(static_cast<uint16_t>(pair));
    high = widen(static_cast<uint16_t>(pair >> 16));
  };
  for (int l = 0; l < 32; ++l) {
    const auto* const record = static_cast<MultiplyRecord*>(records[l]);
    const int g = l / 4, t = l % 4 * 2;
    for (int i = 0; i < 4; ++i) {
      float* const to = &a[g + i % 2 * 8][t + i / 2 * 8];
      unpack(record->a[i], to[0], to[1]);
      c[g + i / 2 * 8][t + i % 2] = record->c[i];
    }
    for (int i = 0; i < 2; ++i) unpack(record->b[i], b[t + i * 8][g], b[t + i * 8 + 1][g]);
  }
  for (int m = 0; m < 16; ++m) {
    __m256 sum = _mm256_load_ps(c[m]);
    for (int k = 0; k < 16; ++k) sum = _mm256_fmadd_ps(_mm256_set1_ps(a[m][k]), _mm256_load_ps(b[k]), sum);
    _mm256_store_ps(c[m], sum);
  }
  for (int l = 0; l < 32; ++l) {
    const auto* const record = static_cast<MultiplyRecord*>(records[l]);
    for (int i = 0; i < 4; ++i) record->c[i] = c[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2];
  }
  ++counters().products;
}

}  // namespace

float widen_f16(uint16_t bits) { return _cvtsh_ss(bits); }

float widen_bf16(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  memcpy(&value, &wide, sizeof value);
  return value;
}

void load_matrices(uint32_t (&out)[4], uint32_t address, bool transpose, Where where) {
  const Access row{16, false, false, nullptr, where};
  LoadRecord record{out, shared_pointer(address, 16, row), transpose};
  // Counts as a read by the lane that passes the address.
  if (checked()) access(reinterpret_cast<uintptr_t>(record.row), 16, false, nullptr, where);
  collective(transpose ? "ldmatrix.trans" : "ldmatrix", 0xffffffffu, &record, load_for_warp, where);
}

void multiply_add(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Widen widen, Where where) {
  MultiplyRecord record{c, a, b, widen};
  collective("mma", 0xffffffffu, &record, multiply_for_warp, where);
}

}  // namespace emulator
