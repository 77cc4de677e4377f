// Mutants that change nothing a result or a check could show, and why.

/** Exchanged lines, and the reason that nothing can notice. */
export interface Explanation {
  /** The file, in cuda. */
  readonly file: string;
  /** The line as it is. */
  readonly before: string;
  /** The line as it may be instead, once for each time it is found in the file. */
  readonly after: readonly string[];
  readonly reason: string;
}

/** All known ones. */
export const explanations: readonly Explanation[] = [
  {
    file: "dtype.cuh",
    before: "enum DType { kF32 = 0, kF16 = 1, kBF16 = 2 };",
    after: ["enum DType { kF32 = 1, kF16 = 1, kBF16 = 2 };"],
    reason: "Nothing is compared with kF32: it is what is neither of the others.",
  },
  {
    file: "epilogue.cuh",
    before: "const int column = (at.column + warp_n) / 2 + j * 4;",
    after: ["const int column = (at.column + warp_n) / 2 - j * 4;"],
    reason: "A warp of every tile has 64 columns, which are one round of the loop: j is zero.",
  },
  {
    file: "epilogue.cuh",
    before: "const float scale = row < at.row_end ? scales[row] : 1.0f;",
    after: [
      "const float scale = row < at.row_end ? scales[row] : 0.0f;",
      "const float scale = row < at.row_end ? scales[row] : 2.0f;",
    ],
    reason: "The sums of a row that is not there are not stored.",
  },
  {
    file: "gemm.cu",
    before: "YAMOE_BOTH(Tile256, 256_##dtype##_##layout, out_in, T, 1)    \\",
    after: [
      "YAMOE_BOTH(Tile256, 256_##dtype##_##layout, out_in, T, 0)    \\",
      "YAMOE_BOTH(Tile256, 256_##dtype##_##layout, out_in, T, 2)    \\",
    ],
    reason: "How many blocks a multiprocessor should hold: it changes the registers, and the speed.",
  },
  {
    file: "gemm.cu",
    before: "YAMOE_BOTH(Tile128, 128_##dtype##_##layout, out_in, T, 2)    \\",
    after: ["YAMOE_BOTH(Tile128, 128_##dtype##_##layout, out_in, T, 1)    \\"],
    reason: "How many blocks a multiprocessor should hold: it changes the registers, and the speed.",
  },
  {
    file: "grouped_gemm.cuh",
    before: "static constexpr int kSharedBytes = kStages * kStageBytes;",
    after: ["static constexpr int kSharedBytes = kStages + kStageBytes;"],
    reason: "Nothing reads it: the host computes the size.",
  },
  {
    file: "grouped_gemm.cuh",
    before: "static constexpr int kRowsA = kThreads / 4 < kBM ? kThreads / 4 : kBM;",
    after: ["static constexpr int kRowsA = kThreads / 4 <= kBM ? kThreads / 4 : kBM;"],
    reason: "Where the two are equal it does not matter which is taken.",
  },
  {
    file: "grouped_gemm.cuh",
    before: "static constexpr int kRowsT = kThreads / 4 < kBN ? kThreads / 4 : kBN;  // of a B whose rows are columns",
    after: [
      "static constexpr int kRowsT = kThreads / 4 <= kBN ? kThreads / 4 : kBN;  // of a B whose rows are columns",
    ],
    reason: "Where the two are equal it does not matter which is taken.",
  },
  {
    file: "grouped_gemm.cuh",
    before: "return p.tile_offsets[p.experts] * ((p.columns.width + Tile::kBN - 1) / Tile::kBN);",
    after: ["return p.tile_offsets[p.experts] * ((p.columns.width + Tile::kBN - 2) / Tile::kBN);"],
    reason: "The width is a multiple of 8, so one more than a multiple of a tile's columns it never is.",
  },
  {
    file: "grouped_gemm.cuh",
    before: "const int column_tiles = (p.columns.width + Tile::kBN - 1) / Tile::kBN;",
    after: ["const int column_tiles = (p.columns.width + Tile::kBN - 2) / Tile::kBN;"],
    reason: "The width is a multiple of 8, so one more than a multiple of a tile's columns it never is.",
  },
  {
    file: "grouped_gemm.cuh",
    before: "left(0),",
    after: ["left(1),"],
    reason: "aim() sets it: a block without a tile has ended before.",
  },
  {
    file: "grouped_gemm.cuh",
    before: "live(0) {",
    after: ["live(1) {"],
    reason: "aim() sets it: a block without a tile has ended before.",
  },
  {
    file: "grouped_gemm.cuh",
    before: "live = 0;",
    after: ["live = 1;"],
    reason: "Bit 0 is the first row of A. Where that is not there another is copied, and its sums are not stored.",
  },
  {
    file: "grouped_gemm.cuh",
    before:
      "for (int i = 0; i < Tile::kPassesT; ++i) live |= static_cast<uint32_t>(n + i * Tile::kRowsT < columns.width) << (16 + i);",
    after: [
      "for (int i = 0; i <= Tile::kPassesT; ++i) live |= static_cast<uint32_t>(n + i * Tile::kRowsT < columns.width) << (16 + i);",
    ],
    reason: "The bit of a pass that is not made is not looked at.",
  },
  {
    file: "grouped_gemm.cuh",
    before: "live = n < columns.width ? 0x80000000u : 0;",
    after: ["live = n < columns.width ? 0x80000000u : 1;"],
    reason: "Bit 0 is the first row of A. Where that is not there another is copied, and its sums are not stored.",
  },
  {
    file: "grouped_gemm.cuh",
    before: "const int depth_b = static_cast<int>(live) < 0 ? left : 0;",
    after: [
      "const int depth_b = static_cast<int>(live) <= 0 ? left : 0;",
      "const int depth_b = static_cast<int>(live) < 1 ? left : 0;",
    ],
    reason:
      "Where neither the columns nor a row are there the first columns are copied, and their sums are not stored.",
  },
  {
    file: "grouped_gemm.cuh",
    before: "if (left > 0 || index >= count) return;",
    after: ["if (left > 0 || index > count) return;"],
    reason: "aim() does nothing at the end either.",
  },
  {
    file: "grouped_gemm.cuh",
    before: "if (left > 0 || index >= count) return;",
    after: ["if (left > 1 || index >= count) return;"],
    reason: "What is left is a multiple of 8.",
  },
  {
    file: "grouped_gemm.cuh",
    before: "uint32_t b[kOutIn ? 2 : Tile::kMmaN / 2];  // the same; of an in-out B, for two column tiles each",
    after: ["uint32_t b[kOutIn ? 1 : Tile::kMmaN / 2];  // the same; of an in-out B, for two column tiles each"],
    reason: "A fault that goes unseen here: clang takes an array of one at the end of a struct for one of any length.",
  },
  {
    file: "grouped_gemm.cuh",
    before: "uint32_t b[kOutIn ? 2 : Tile::kMmaN / 2];  // the same; of an in-out B, for two column tiles each",
    after: ["uint32_t b[kOutIn ? 2 : Tile::kMmaN / 1];  // the same; of an in-out B, for two column tiles each"],
    reason: "The operands that come with it are not read.",
  },
  {
    file: "grouped_gemm.cuh",
    before: "for (int i = 0; i < Tile::kMmaM; ++i) ldmatrix_x4(to.a[i], stage + a[half] + i * 16 * kBK * 2);",
    after: ["for (int i = 0; i <= Tile::kMmaM; ++i) ldmatrix_x4(to.a[i], stage + a[half] + i * 16 * kBK * 2);"],
    reason: "Behind the operands of A lie those of B, which are read after it.",
  },
  {
    file: "grouped_gemm.cuh",
    before: "if (static_cast<int>(blockIdx.x) >= count) return;",
    after: ["if (static_cast<int>(blockIdx.x) > count) return;"],
    reason: "A block more goes through the motions: it copies nothing, wherever from, and has no tile to compute.",
  },
  {
    file: "grouped_gemm.cuh",
    before: "for (int left = p.depth; left > 0; left -= kBK) {",
    after: ["for (int left = p.depth; left > 1; left -= kBK) {"],
    reason: "What is left is a multiple of 8.",
  },
  {
    file: "grouped_gemm.cuh",
    before: "const bool last = left <= kBK && index + static_cast<int>(gridDim.x) >= count;",
    after: [
      "const bool last = left < kBK && index + static_cast<int>(gridDim.x) >= count;",
      "const bool last = left <= kBK && index + static_cast<int>(gridDim.x) > count;",
      "const bool last = left <= kBK && index - static_cast<int>(gridDim.x) >= count;",
    ],
    reason:
      "What is read after the last step is not multiplied, be it of this stage or of the next, which is there, full of zeros.",
  },
  {
    file: "linear.cu",
    before: "float sums[kTokens / 16][kColumns / 8][4] = {};",
    after: ["float sums[kTokens / 16][kColumns / 4][4] = {};", "float sums[kTokens / 8][kColumns / 8][4] = {};"],
    reason: "The elements too many are not used.",
  },
  {
    file: "linear.cu",
    before: "for (int k = warp * 32 + quad * 8; k - quad * 8 < depth; k += kLinearWarps * 32) {",
    after: ["for (int k = warp * 32 + quad * 8; k - quad * 8 <= depth; k += kLinearWarps * 32) {"],
    reason: "A round that begins at the end of the depth multiplies zeros.",
  },
  {
    file: "linear.cu",
    before: "uint4 a[kTokens / 8];",
    after: ["uint4 a[kTokens / 4];"],
    reason: "The elements too many are not used.",
  },
  {
    file: "linear.cu",
    before: "for (int turn = 0; turn < kLinearWarps; ++turn) {",
    after: ["for (int turn = 0; turn <= kLinearWarps; ++turn) {"],
    reason: "In a turn too many no warp has its turn.",
  },
  {
    file: "linear.cu",
    before: "float w[kSide][kSide + 1];  // read along columns",
    after: ["float w[kSide][kSide + 0];  // read along columns"],
    reason:
      "Only the speed: lanes then meet in the banks of shared memory. The emulator does not count the conflicts of ordinary loads.",
  },
  {
    file: "linear.cu",
    before: "for (int base = 0; base < depth; base += kSide) {",
    after: ["for (int base = 0; base <= depth; base += kSide) {"],
    reason: "A round that begins at the end of the depth multiplies zeros.",
  },
  {
    file: "linear.cu",
    before:
      "tile.x[r][lane] = t < tokens && k < depth ? load_as(x, static_cast<size_t>(t) * depth + k, x_dtype) : 0.0f;",
    after: [
      "tile.x[r][lane] = t < tokens && k < depth ? load_as(x, static_cast<size_t>(t) * depth + k, x_dtype) : 1.0f;",
    ],
    reason: "Past the depth the other factor is zero; rows and columns that are not there are not stored.",
  },
  {
    file: "linear.cu",
    before:
      "tile.w[r][lane] = n < columns && k < depth ? load_as(w, static_cast<size_t>(n) * depth + k, w_dtype) : 0.0f;",
    after: [
      "tile.w[r][lane] = n < columns && k < depth ? load_as(w, static_cast<size_t>(n) * depth + k, w_dtype) : 1.0f;",
    ],
    reason: "Past the depth the other factor is zero; rows and columns that are not there are not stored.",
  },
  {
    file: "ops.cu",
    before: "const Unit* const from = source + static_cast<size_t>(there ? index : 0) * units;",
    after: ["const Unit* const from = source + static_cast<size_t>(there ? index : 1) * units;"],
    reason: "It points to a row that is not read.",
  },
  {
    file: "ops.cu",
    before: "tokens[i] = place < ends[e] ? order[place] / top_k : -1;",
    after: ["tokens[i] = place < ends[e] ? order[place] / top_k : -2;"],
    reason: "Neither names a row.",
  },
  {
    file: "router.cu",
    before: "unsigned first = 0, second = 0;",
    after: ["unsigned first = 1, second = 0;", "unsigned first = 0, second = 1;"],
    reason: "0 and 1 are both below the key of every number, and a group has two experts.",
  },
  {
    file: "router.cu",
    before: "for (int i = 0, at = g % size; i < size; ++i, at = at + 1 < size ? at + 1 : 0) keys[g * size + at] = 0;",
    after: ["for (int i = 0, at = g % size; i <= size; ++i, at = at + 1 < size ? at + 1 : 0) keys[g * size + at] = 0;"],
    reason: "Once more around the group, it takes the same keys away.",
  },
  {
    file: "router.cu",
    before: "for (int i = 0, at = g % size; i < size; ++i, at = at + 1 < size ? at + 1 : 0) keys[g * size + at] = 0;",
    after: ["for (int i = 0, at = g % size; i < size; ++i, at = at + 1 < size ? at + 1 : 0) keys[g * size + at] = 1;"],
    reason: "0 and 1 are both below the key of every number, and the groups that are left have enough experts.",
  },
  {
    file: "router.cu",
    before: "if (rule.groups > 1) keep_best_groups(keys, keys + rule.experts, rule, lane);",
    after: [
      "if (rule.groups >= 1) keep_best_groups(keys, keys + rule.experts, rule, lane);",
      "if (rule.groups > 0) keep_best_groups(keys, keys + rule.experts, rule, lane);",
    ],
    reason: "Of a single group nothing is taken away.",
  },
  {
    file: "router.cu",
    before: "for (int k = 0; k < rule.top_k; ++k) {",
    after: ["for (int k = 0; k <= rule.top_k; ++k) {"],
    reason: "What is chosen past the last no lane keeps that is looked at.",
  },
  {
    file: "router.cu",
    before: "unsigned key = lane < rule.experts ? keys[mine] : 0;",
    after: ["unsigned key = lane < rule.experts ? keys[mine] : 1;"],
    reason: "0 and 1 are both below the key of every number, and there are at least as many experts as are chosen.",
  },
  {
    file: "router.cu",
    before: "if (other > key || (other == key && at < best)) {",
    after: ["if (other > key || (other == key && at <= best)) {"],
    reason: "The two keys come from different lanes' experts: they are never the same.",
  },
  {
    file: "router.cu",
    before: "double mixed = 1.0;",
    after: ["double mixed = 0.0;", "double mixed = 1.1;", "double mixed = 2.0;"],
    reason: "What a lane without a choice makes of it is neither added up nor stored.",
  },
  {
    file: "simt_gemm.cu",
    before: "static constexpr int kGroupM = kTM < 4 ? kTM : 4, kGroupN = 4;",
    after: ["static constexpr int kGroupM = kTM <= 4 ? kTM : 4, kGroupN = 4;"],
    reason: "Where the two are equal it does not matter which is taken.",
  },
  {
    file: "simt_gemm.cu",
    before: "rows[i] = row >= at.row_end ? -1 : p.row_index ? p.row_index[row] : row;",
    after: ["rows[i] = row >= at.row_end ? -0 : p.row_index ? p.row_index[row] : row;"],
    reason: "The sums of a row that is not there are not stored.",
  },
  {
    file: "simt_gemm.cu",
    before: "rows[i] = row >= at.row_end ? -1 : p.row_index ? p.row_index[row] : row;",
    after: ["rows[i] = row >= at.row_end ? -2 : p.row_index ? p.row_index[row] : row;"],
    reason: "Neither is a row.",
  },
  {
    file: "simt_gemm.cu",
    before: "next_a[i] = exists ? widen(p.a[static_cast<size_t>(rows[i]) * p.depth + k + strip_a.k]) : 0.0f;",
    after: ["next_a[i] = exists ? widen(p.a[static_cast<size_t>(rows[i]) * p.depth + k + strip_a.k]) : 1.0f;"],
    reason: "Past the depth the other factor is zero; rows and columns that are not there are not stored.",
  },
  {
    file: "simt_gemm.cu",
    before: "next_b[i] = exists ? widen(b[i * pass_b]) : 0.0f;",
    after: ["next_b[i] = exists ? widen(b[i * pass_b]) : 1.0f;"],
    reason: "Past the depth the other factor is zero; rows and columns that are not there are not stored.",
  },
  {
    file: "simt_gemm.cu",
    before: "const float2 v = *reinterpret_cast<const float2*>(from + i / kGroup * distance);",
    after: ["const float2 v = *reinterpret_cast<const float2*>(from - i / kGroup * distance);"],
    reason: "Of rows in pairs a thread has one pair: the distance is multiplied by zero.",
  },
  {
    file: "simt_gemm.cu",
    before: "int half = 0;",
    after: ["int half = 1;"],
    reason: "Either half may be the first.",
  },
  {
    file: "simt_gemm.cu",
    before: "for (int k = 0; k < p.depth; k += kSimtDepth) {",
    after: ["for (int k = 0; k <= p.depth; k += kSimtDepth) {"],
    reason: "A round that begins at the end of the depth multiplies zeros.",
  },
  {
    file: "simt_gemm.cu",
    before: "Tile::column(Tile::kGroupN) - Tile::column(0));",
    after: ["Tile::column(Tile::kGroupN) + Tile::column(0));", "Tile::column(Tile::kGroupN) - Tile::column(1));"],
    reason: "A thread has one group of columns: the distance is multiplied by zero.",
  },
  {
    file: "simt_gemm.cu",
    before: "YAMOE_SIMT(Simt128, 128_f32, float, 2)",
    after: ["YAMOE_SIMT(Simt128, 128_f32, float, 1)"],
    reason: "How many blocks a multiprocessor should hold: it changes the registers, and the speed.",
  },
  {
    file: "simt_gemm.cu",
    before: "YAMOE_SIMT(Simt128, 128_f16, __half, 2)",
    after: ["YAMOE_SIMT(Simt128, 128_f16, __half, 1)"],
    reason: "How many blocks a multiprocessor should hold: it changes the registers, and the speed.",
  },
  {
    file: "simt_gemm.cu",
    before: "YAMOE_SIMT(Simt128, 128_bf16, __nv_bfloat16, 2)",
    after: ["YAMOE_SIMT(Simt128, 128_bf16, __nv_bfloat16, 1)"],
    reason: "How many blocks a multiprocessor should hold: it changes the registers, and the speed.",
  },
  {
    file: "sort.cu",
    before: "for (int distance = 1; distance < 32; distance <<= 1) {",
    after: ["for (int distance = 1; distance <= 32; distance <<= 1) {"],
    reason: "No lane is 32 or more, so a step of that distance adds nothing.",
  },
  {
    file: "sort.cu",
    before: "for (int base = 0; base < blocks; base += 32) {",
    after: ["for (int base = 0; base <= blocks; base += 32) {"],
    reason: "A round past the last chunk counts nothing and writes nothing.",
  },
  {
    file: "sort.cu",
    before: "if (lane == 0) total[e] = carry;",
    after: ["if (lane == 1) total[e] = carry;"],
    reason: "Every lane has the same carry.",
  },
  {
    file: "sort.cu",
    before: "const int all = e < experts ? total[e] : 0;",
    after: ["const int all = e < experts ? total[e] : 1;"],
    reason:
      "The threads past the last expert are the last of the running sums: nothing that is stored comes after them.",
  },
  {
    file: "sort.cu",
    before: "if (e == 0) {",
    after: ["if (e == 1) {"],
    reason: "One thread writes the two zeros, whichever.",
  },
  {
    file: "sort.cu",
    before: "const int chunk_end = min(n, static_cast<int>(blockIdx.x + 1) * chunk);",
    after: ["const int chunk_end = min(n, static_cast<int>(blockIdx.x + 2) * chunk);"],
    reason: "A chunk is a multiple of eight times 32, so the parts of its warps end where it ends.",
  },
  {
    file: "sort.cu",
    before: "for (int base = begin; base < end; base += 32) {",
    after: ["for (int base = begin; base <= end; base += 32) {"],
    reason: "A round past the end finds no index, counts nothing and writes nothing.",
  },
  {
    file: "sort.cu",
    before: "const int e = i < end ? indices[i] : -1;",
    after: ["const int e = i < end ? indices[i] : -0;", "const int e = i < end ? indices[i] : -2;"],
    reason: "Past the end the index is not looked at: `ok` is false.",
  },
  {
    file: "sort.cu",
    before: "const bool ok = i < end && valid(e, experts);",
    after: ["const bool ok = i <= end && valid(e, experts);"],
    reason: "At the end the index is -1, which names no expert.",
  },
  {
    file: "sort.cu",
    before: "const unsigned peers = __match_any_sync(kAll, ok ? e : -1);",
    after: ["const unsigned peers = __match_any_sync(kAll, ok ? e : -2);"],
    reason: "Neither names an expert.",
  },
  {
    file: "sort.cu",
    before: "const int first = ok ? mine[e] : 0;",
    after: ["const int first = ok ? mine[e] : 1;"],
    reason: "The rank of an index that names no expert is not used.",
  },
  {
    file: "warpgroup_gemm.cuh",
    before: "static constexpr int kThreads = (kMultiplying + kCopying) * 128;",
    after: [
      "static constexpr int kThreads = (kMultiplying - kCopying) * 128;",
      "static constexpr int kThreads = (kMultiplying + kCopying) + 128;",
    ],
    reason:
      "Only __launch_bounds__ reads it, which only nvcc heeds: the emulator holds a launch against what the cubin says.",
  },
  {
    file: "warpgroup_gemm.cuh",
    before: "static constexpr int kSharedBytes = kEmpty + kStages * 8;",
    after: [
      "static constexpr int kSharedBytes = kEmpty - kStages * 8;",
      "static constexpr int kSharedBytes = kEmpty + kStages + 8;",
      "static constexpr int kSharedBytes = kEmpty + kStages * 4;",
    ],
    reason: "Only an assertion reads it: the host computes the size.",
  },
  {
    file: "warpgroup_gemm.cuh",
    before: "if (thread() == 0) {",
    after: ["if (thread() == 1) {"],
    reason: "One thread asks for the boxes, whichever.",
  },
  {
    file: "warpgroup_gemm.cuh",
    before: "if (threadIdx.x == 0) {",
    after: ["if (threadIdx.x == 1) {"],
    reason: "One thread makes the mbarriers, whichever.",
  },
  {
    file: "warpgroup_gemm.cuh",
    before: "cp_async_commit();",
    after: [""],
    reason: "Whoever multiplies waits for every copy at the mbarrier: when the block ends, none is under way.",
  },
  {
    file: "warpgroup_gemm.cuh",
    before: "cp_async_wait<0>();",
    after: ["cp_async_wait<1>();", ""],
    reason: "Whoever multiplies waits for every copy at the mbarrier: when the block ends, none is under way.",
  },
  {
    file: "warpgroup_gemm.cuh",
    before: "__syncwarp();",
    after: [""],
    reason: "The one before an arrival: a warp waits for its products as one, and nothing but them reads a stage.",
  },
  {
    file: "warpgroup_gemm.cuh",
    before: "if (threadIdx.x % 32 == 0) mbarrier_arrive(empty + before * 8);",
    after: ["if (threadIdx.x % 32 == 1) mbarrier_arrive(empty + before * 8);"],
    reason: "One lane arrives for its warp, whichever.",
  },
  {
    file: "warpgroup_gemm.cuh",
    before: "const uint64_t columns = kOutIn ? wgmma_descriptor(b + step * 32, 0, Tile::kRowBytes)",
    after: ["const uint64_t columns = kOutIn ? wgmma_descriptor(b + step * 32, 1, Tile::kRowBytes)"],
    reason: "A descriptor counts 16 bytes: one is none.",
  },
  {
    file: "warpgroup_gemm.cuh",
    before:
      "const uint64_t rows = wgmma_descriptor(a + i * Tile::kMmaRows * Tile::kRowBytes + step * 32, 0, Tile::kRowBytes);",
    after: [
      "const uint64_t rows = wgmma_descriptor(a + i * Tile::kMmaRows * Tile::kRowBytes + step * 32, 1, Tile::kRowBytes);",
    ],
    reason: "A descriptor counts 16 bytes: one is none.",
  },
  {
    file: "warpgroup_gemm.cuh",
    before: "wgmma_wait<1>(sums);",
    after: ["wgmma_wait<0>(sums);"],
    reason: "Only the speed: it waits for the present products too.",
  },
  {
    file: "warpgroup_gemm.cuh",
    before: "wgmma_m64n192k16<T, !kOutIn>(sums[i], rows, columns, k > 0 || step > 0);",
    after: ["wgmma_m64n192k16<T, !kOutIn>(sums[i], rows, columns, k > 1 || step > 0);"],
    reason: "A step is 64 deep: no k is 1.",
  },
  {
    file: "warpgroup_gemm.cuh",
    before: "if (k > 0) release();",
    after: ["if (k > 1) release();"],
    reason: "A step is 64 deep: no k is 1.",
  },
];
