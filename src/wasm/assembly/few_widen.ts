// Widens f16 and f32 for the products of few rows. Widening f16 takes many instructions, so it is not repeated for each tile of A.
import { F16 } from "../codes";
import { anySpecial4, highFour, lowFour } from "./element";
import { wide, WIDE_STEP } from "./few_tiles";
import { widen } from "./pack";

// Widens two groups in the registers `a` and `b`. If they are split, `a` has their lower fours and `b` their upper fours.
// @ts-ignore: decorator
@inline
function widenTwo(pairs: bool, split: bool, a: v128, b: v128, special: bool, out: usize): void {
  const a0 = lowFour<u16>(a, pairs, special), a1 = highFour<u16>(a, pairs, special);
  const b0 = lowFour<u16>(b, pairs, special), b1 = highFour<u16>(b, pairs, special);
  v128.store(out, a0);
  v128.store(out, split ? b0 : a1, 16);
  v128.store(out, split ? a1 : b0, WIDE_STEP);
  v128.store(out, b1, WIDE_STEP + 16);
}

// Widens four groups at a time: a cache line if they are not split. `pairs` and `split` are constants.
// @ts-ignore: decorator
@inline
function widenFours(pairs: bool, split: bool, from: usize, stride: usize, rows: i32, groups: i32, high: usize): void {
  const step: usize = split ? 32 : 64;
  const next: usize = split ? 16 : 32, upper = split ? high : 16;
  let to = wide;
  for (; groups > 0; groups -= 4, from += step, to += 4 * WIDE_STEP) {
    let at = from;
    for (let out = to, end = to + (<usize> rows << 5); out < end; out += 32, at += stride) {
      const a = v128.load(at), b = v128.load(at + upper);
      const c = v128.load(at + next), d = v128.load(at + upper + next);
      // Two branches, so that `special` is a constant in each.
      if (anySpecial4(a, b, c, d)) {
        widenTwo(pairs, split, a, b, true, out);
        widenTwo(pairs, split, c, d, true, out + 2 * WIDE_STEP);
      } else {
        widenTwo(pairs, split, a, b, false, out);
        widenTwo(pairs, split, c, d, false, out + 2 * WIDE_STEP);
      }
    }
  }
}

// Widens `rows` rows of some groups to `wide`. See `widenRows` for the groups; those of f16 are consecutive. Reads up to
// 48 bytes after the last group.
export function widenFew(
  dtype: i32,
  pairs: bool,
  from: usize,
  stride: usize,
  rows: i32,
  groups: i32,
  step: usize,
  high: usize,
): void {
  if (dtype == F16) {
    if (pairs) widenFours(true, false, from, stride, rows, groups, high);
    else if (step == 8) widenFours(false, true, from, stride, rows, groups, high);
    else widenFours(false, false, from, stride, rows, groups, high);
  } else {
    widen(dtype, pairs, from, stride, rows, groups, step, high, wide, 32, WIDE_STEP, 16);
  }
}
