// Widens f16 and f32 for the products of few rows. Widening f16 takes many instructions, so it is not repeated for each tile of A.
import { F16 } from "../codes";
import { anySpecial4, highFour, lowFour } from "./element";
import { wide, WIDE_STEP } from "./few_tiles";
import { widen } from "./pack";

// Widens a group of f16 in a register. `special` is a constant.
// @ts-ignore: decorator
@inline
function widenGroup(bits: v128, special: bool, out: usize): void {
  v128.store(out, lowFour<u16>(bits, true, special));
  v128.store(out, highFour<u16>(bits, true, special), 16);
}

// Widens four groups of f16 at a time: a cache line.
// @ts-ignore: decorator
@inline
function widenHalfGroups(from: usize, stride: usize, rows: i32, groups: i32): void {
  let to = wide;
  for (; groups > 0; groups -= 4, from += 64, to += 4 * WIDE_STEP) {
    let at = from;
    for (let out = to, end = to + (<usize> rows << 5); out < end; out += 32, at += stride) {
      const a = v128.load(at), b = v128.load(at, 16), c = v128.load(at, 32), d = v128.load(at, 48);
      // Two branches, so that `special` is a constant in each.
      if (anySpecial4(a, b, c, d)) {
        widenGroup(a, true, out);
        widenGroup(b, true, out + WIDE_STEP);
        widenGroup(c, true, out + 2 * WIDE_STEP);
        widenGroup(d, true, out + 3 * WIDE_STEP);
      } else {
        widenGroup(a, false, out);
        widenGroup(b, false, out + WIDE_STEP);
        widenGroup(c, false, out + 2 * WIDE_STEP);
        widenGroup(d, false, out + 3 * WIDE_STEP);
      }
    }
  }
}

// Widens `rows` rows of some groups to `wide`; see `multiplyFew` for the groups. Reads up to 48 bytes after the last group.
export function widenFew(dtype: i32, pairs: bool, from: usize, stride: usize, rows: i32, groups: i32): void {
  if (dtype == F16) widenHalfGroups(from, stride, rows, groups);
  else widen(dtype, pairs, from, stride, rows, groups, 32, 16, wide, 32, WIDE_STEP, 16);
}
