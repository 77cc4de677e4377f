// wgmma: the products of a warpgroup, computed per warp of 16 rows. The operands are checked when a product is issued, and protected
// from writes until the warp has waited for it. The sums change only then.
#include <algorithm>
#include <array>

#include "runtime.h"

namespace emulator {
namespace {

constexpr int kRows = 16, kDepth = 16;

struct Product {
  std::array<float*, 32> c;  // by lane
  int tiles;
  uint64_t a, b;
  bool across;
  Widen widen;
  Where where;
  std::vector<uint32_t> reads;  // 16 bytes each
  struct Registers {
    const uint32_t* at;
    std::array<uint32_t, 4> values;
    unsigned release;  // of the lane, at the issue
  };
  std::vector<Registers> registers;  // of a, by lane, if it is in registers
};

struct Queue {
  std::vector<Product> open;                 // not committed yet
  std::vector<std::vector<Product>> groups;  // committed, oldest first
};

std::map<int, Queue> queues;  // by warp

Queue& queue() { return queues[current() / 32]; }

// PTX ISA, "Matrix Descriptor": rows of 128 bytes, whose 16-byte chunks are permuted by bits 7 to 9 of an address.
struct Operand {
  static constexpr int kRowBytes = 128;
  uint32_t start, stride;
  bool valid;

  explicit Operand(uint64_t descriptor)
      : start((descriptor & 0x3fff) << 4), stride((descriptor >> 32 & 0x3fff) << 4), valid(descriptor >> 62 == 1) {}

  // Rows along the depth.
  uint32_t along(int row, int k) const { return swizzled(start + row / 8 * stride + row % 8 * kRowBytes + k * 2); }
  // Rows across the depth: one for each k.
  uint32_t across(int row, int k) const { return swizzled(start + row * 2 + k / 8 * stride + k % 8 * kRowBytes); }
  uint32_t at(bool is_across, int row, int k) const { return is_across ? across(row, k) : along(row, k); }

  static uint32_t swizzled(uint32_t address) { return address ^ (address >> 7 & 7) << 4; }
};

float element(uint32_t address, Widen widen) {
  return widen(*reinterpret_cast<const uint16_t*>(shared_pointer(address, 2, {})));
}

int first_lane() { return current() & ~31; }
int first_row() { return current() / 32 % 4 * kRows; }

// PTX ISA, "Register Fragments for wgmma.mma_async.m64nNk16".
float element_in_registers(const Product& product, int m, int k) {
  const uint32_t pair = product.registers[m % 8 * 4 + k % 8 / 2].values[k / 8 * 2 + m / 8];
  return product.widen(static_cast<uint16_t>(k % 2 ? pair >> 16 : pair));
}

void check_registers(const Product& product) {
  for (const auto& lane : product.registers) {
    if (!std::equal(lane.values.begin(), lane.values.end(), lane.at))
      fault(719, product.where, "wgmma: the registers of an operand changed while the product was in flight");
  }
}

void multiply(const Product& product) {
  const Operand a(product.a), b(product.b);
  const int columns = product.tiles * 8;
  std::vector<float> right(kDepth * columns), sums(columns);
  for (int k = 0; k < kDepth; ++k) {
    for (int n = 0; n < columns; ++n) right[k * columns + n] = element(b.along(n, k), product.widen);
  }
  for (int m = 0; m < kRows; ++m) {
    const auto place = [&](int n) -> float& { return product.c[m % 8 * 4 + n % 8 / 2][n / 8 * 4 + m / 8 * 2 + n % 2]; };
    for (int n = 0; n < columns; ++n) sums[n] = place(n);
    for (int k = 0; k < kDepth; ++k) {
      const float left = product.registers.empty() ? element(a.at(product.across, first_row() + m, k), product.widen)
                                                   : element_in_registers(product, m, k);
      for (int n = 0; n < columns; ++n) sums[n] = __builtin_fmaf(left, right[k * columns + n], sums[n]);
    }
    for (int n = 0; n < columns; ++n) place(n) = sums[n];
  }
  check_registers(product);
  counters().products += product.tiles;
}

void issue(void** records, unsigned, Where where) {
  const Wgmma& first = *static_cast<Wgmma*>(records[0]);
  Product product{{}, first.tiles, first.a, first.b, first.across, first.widen, where, {}, {}};
  for (int l = 0; l < 32; ++l) {
    const Wgmma& of = *static_cast<Wgmma*>(records[l]);
    if (of.a != first.a || of.b != first.b) fault(719, where, "wgmma: the operands of the lanes differ");
    product.c[l] = of.c;
    if (of.registers) {
      product.registers.push_back({of.registers, {}, ++fibers()[first_lane() + l].releases});
      std::copy_n(of.registers, 4, product.registers.back().values.begin());
    }
  }
  for (const uint64_t descriptor : {first.a, first.b}) {
    if (first.registers && descriptor == first.a) continue;
    if (!Operand(descriptor).valid) {
      fault(719, where, "wgmma: the descriptor %#zx must have a swizzle of 128 bytes", size_t{descriptor});
    }
  }
  const Operand a(first.a), b(first.b);
  const auto read = [&](uint32_t address) {
    product.reads.push_back(address);
    async_read_begins(address, where);
  };
  if (!first.registers && first.across) {
    for (int m = 0; m < kRows; m += 8) {
      for (int k = 0; k < kDepth; ++k) read(a.across(first_row() + m, k));
    }
  } else if (!first.registers) {
    for (int m = 0; m < kRows; ++m) {
      for (int k = 0; k < kDepth; k += 8) read(a.along(first_row() + m, k));
    }
  }
  // A column may be multiplied, and gives NaN, if it belongs to a missing row: if nothing of it was ever written, or if a bulk copy
  // has brought it from unwritten memory.
  for (int n = 0; n < first.tiles * 8; ++n) {
    for (int k = 0; k < kDepth; k += 8) {
      const uint32_t address = b.along(n, k);
      if (first.registers ? is_written(address) : !is_unwritten_copy(address)) read(address);
    }
  }
  queue().open.push_back(std::move(product));
}

void commit(void**, unsigned, Where) {
  queue().groups.push_back(std::move(queue().open));
  queue().open.clear();
}

void wait(void** records, unsigned, Where) {
  const size_t pending = *static_cast<int*>(records[0]);
  auto& groups = queue().groups;
  while (groups.size() > pending) {
    for (const Product& product : groups.front()) multiply(product);
    for (const Product& product : groups.front()) {
      for (const uint32_t address : product.reads) async_read_ends(address);
      // What the lanes had loaded for these registers has arrived, so no fence is needed.
      for (size_t l = 0; l < product.registers.size(); ++l) {
        unsigned& fenced = fibers()[first_lane() + l].fenced;
        fenced = std::max(fenced, product.registers[l].release);
      }
    }
    groups.erase(groups.begin());
  }
  // Operands that groups in flight also read stay protected.
  for (const auto& group : groups) {
    for (const Product& product : group) {
      for (const uint32_t address : product.reads) async_read_begins(address, {nullptr, 0});
    }
  }
}

}  // namespace

void forget_warpgroup_products() { queues.clear(); }

std::string pending_products() {
  const auto found = queues.find(current() / 32);
  if (found == queues.end()) return "";
  const auto& [open, groups] = found->second;
  for (const auto& group : groups) {
    if (!group.empty()) return "products of wgmma in flight, issued at " + describe(group.front().where);
  }
  return open.empty() ? "" : "products of wgmma that were not committed, issued at " + describe(open.front().where);
}

void wgmma(const Wgmma& product, Where where) {
  Wgmma record = product;
  collective("wgmma", 0xffffffffu, &record, issue, where);
}
void wgmma_commit(Where where) { collective("wgmma.commit_group", 0xffffffffu, nullptr, commit, where); }
void wgmma_wait(int pending, Where where) { collective("wgmma.wait_group", 0xffffffffu, &pending, wait, where); }

}  // namespace emulator
