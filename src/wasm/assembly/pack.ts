// Packing: the operands of `multiply`, widened to f32 on the way. Sources are staged copies whose rows and columns are padded
// with zeros to whole tiles, so nothing here has an edge; a zero product leaves every sum as it is and changes no bits.
// The packed depth is a multiple of 4.
import { widenHalf } from "./half";

// @ts-ignore: decorator
@inline
function widenLow(halves: v128): v128 {
  return widenHalf(i32x4.extend_low_i16x8_u(halves));
}

// @ts-ignore: decorator
@inline
function widenHigh(halves: v128): v128 {
  return widenHalf(i32x4.extend_high_i16x8_u(halves));
}

// B: `depth` rows of `panels` * 8 f16, `stride` bytes apart, into panels of [depth][8] f32.
export function packB(source: usize, stride: usize, depth: i32, panels: i32, out: usize): void {
  const panelBytes = <usize> depth * 32;
  for (let k: i32 = 0; k < depth; k++) {
    let from = source + <usize> k * stride;
    let to = out + <usize> k * 32;
    for (let p: i32 = 0; p < panels; p++, from += 16, to += panelBytes) {
      const halves = v128.load(from);
      v128.store(to, widenLow(halves));
      v128.store(to, widenHigh(halves), 16);
    }
  }
}

// A: `rowTiles` * 6 rows of `depth` f16, `stride` bytes apart, into tiles of [depth][6] f32.
export function packA(source: usize, stride: usize, depth: i32, rowTiles: i32, out: usize): void {
  for (let tile: i32 = 0; tile < rowTiles; tile++, source += 6 * stride) {
    for (let from = source, end = source + (<usize> depth << 1); from < end; from += 8, out += 96) {
      const r0 = widenLow(v128.load64_zero(from));
      const r1 = widenLow(v128.load64_zero(from + stride));
      const r2 = widenLow(v128.load64_zero(from + 2 * stride));
      const r3 = widenLow(v128.load64_zero(from + 3 * stride));
      const r4 = widenLow(v128.load64_zero(from + 4 * stride));
      const r5 = widenLow(v128.load64_zero(from + 5 * stride));
      const a01 = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5); // rows 0, 1 at k, then at k + 1
      const b01 = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7); // at k + 2, then at k + 3
      const a23 = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
      const b23 = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
      const a45 = v128.shuffle<i32>(r4, r5, 0, 4, 1, 5);
      const b45 = v128.shuffle<i32>(r4, r5, 2, 6, 3, 7);
      v128.store(out, v128.shuffle<i64>(a01, a23, 0, 2));
      v128.store64_lane(out, a45, 0, 16);
      v128.store(out, v128.shuffle<i64>(a01, a23, 1, 3), 24);
      v128.store64_lane(out, a45, 1, 40);
      v128.store(out, v128.shuffle<i64>(b01, b23, 0, 2), 48);
      v128.store64_lane(out, b45, 0, 64);
      v128.store(out, v128.shuffle<i64>(b01, b23, 1, 3), 72);
      v128.store64_lane(out, b45, 1, 88);
    }
  }
}
