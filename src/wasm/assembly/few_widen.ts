// Widens the weights of a few rows and columns for the products of few rows.
import { BF16, F16 } from "../codes";
import { anySpecial4, highFour, lowFour } from "./element";
import { wide, WIDE_STEP } from "./few_tiles";
import { widen } from "./pack";

// Widens two groups in the registers `a` and `b`. If they are split, `a` has their lower fours and `b` their upper fours.
// @ts-ignore: decorator
@inline
function widenTwo<T>(pairs: bool, split: bool, a: v128, b: v128, special: bool, out: usize): void {
  const a0 = lowFour<T>(a, pairs, special), a1 = highFour<T>(a, pairs, special);
  const b0 = lowFour<T>(b, pairs, special), b1 = highFour<T>(b, pairs, special);
  v128.store(out, a0);
  v128.store(out, split ? b0 : a1, 16);
  v128.store(out, split ? a1 : b0, WIDE_STEP);
  v128.store(out, b1, WIDE_STEP + 16);
}

// Widens four groups at a time: a cache line if they are not split. `pairs` and `split` are constants.
// @ts-ignore: decorator
@inline
function widenFours<T>(pairs: bool, split: bool, from: usize, stride: usize, rows: i32, groups: i32, high: usize): void {
  const step: usize = split ? 32 : 64;
  const next: usize = split ? 16 : 32, upper = split ? high : 16;
  let to = wide;
  for (; groups > 0; groups -= 4, from += step, to += 4 * WIDE_STEP) {
    let at = from;
    for (let out = to, end = to + (<usize> rows << 5); out < end; out += 32, at += stride) {
      const a = v128.load(at), b = v128.load(at + upper);
      const c = v128.load(at + next), d = v128.load(at + upper + next);
      // Two branches, so that `special` is a constant in each.
      if (!isSigned<T>() && anySpecial4(a, b, c, d)) {
        widenTwo<T>(pairs, split, a, b, true, out);
        widenTwo<T>(pairs, split, c, d, true, out + 2 * WIDE_STEP);
      } else {
        widenTwo<T>(pairs, split, a, b, false, out);
        widenTwo<T>(pairs, split, c, d, false, out + 2 * WIDE_STEP);
      }
    }
  }
}

// Widens `rows` rows of some groups to `wide`. See `widenRows` for the groups; those of 16-bit weights are consecutive. Reads up to
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
    if (pairs) widenFours<u16>(true, false, from, stride, rows, groups, high);
    else if (step == 8) widenFours<u16>(false, true, from, stride, rows, groups, high);
    else widenFours<u16>(false, false, from, stride, rows, groups, high);
  } else if (dtype == BF16) {
    if (pairs) widenFours<i16>(true, false, from, stride, rows, groups, high);
    else if (step == 8) widenFours<i16>(false, true, from, stride, rows, groups, high);
    else widenFours<i16>(false, false, from, stride, rows, groups, high);
  } else {
    widen(dtype, pairs, from, stride, rows, groups, step, high, wide, 32, WIDE_STEP, 16);
  }
}
