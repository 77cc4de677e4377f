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
];
