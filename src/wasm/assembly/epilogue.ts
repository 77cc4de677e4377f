// What happens to the sums of `multiply` on their way out: bias, activation, one rounding to f16. The sums come as tiles of
// [6][8] f32, panel by panel; the results leave as rows, `stride` bytes apart. `bias` has one f32 for each column.
import { exp4 } from "./math";
import { narrowHalf } from "./half";

// gate sigmoid(alpha gate) (up + 1), with gate <= limit and |up| <= limit. min and max, unlike pmin and pmax, keep a NaN.
// @ts-ignore: decorator
@inline
function clampedSwiglu(gate: v128, up: v128, alpha: v128, limit: v128): v128 {
  const g = f32x4.min(gate, limit);
  const u = f32x4.max(f32x4.min(up, limit), f32x4.neg(limit));
  const one = f32x4.splat(1);
  const sigmoid = f32x4.div(one, f32x4.add(one, exp4(f32x4.neg(f32x4.mul(alpha, g)))));
  return f32x4.mul(f32x4.mul(g, sigmoid), f32x4.add(u, one));
}

// Gate in the even columns, up in the odd ones: each panel gives 4 results a row.
export function storeSwiglu(
  c: usize,
  rowTiles: i32,
  panels: i32,
  panelStride: usize,
  bias: usize,
  alpha: f32,
  limit: f32,
  out: usize,
  stride: usize,
): void {
  const rows = <usize> rowTiles * 6;
  for (let p: i32 = 0; p < panels; p++, c += panelStride, bias += 32, out += 8) {
    const bias0 = v128.load(bias);
    const bias1 = v128.load(bias, 16);
    for (let r: usize = 0, from = c, to = out; r < rows; r++, from += 32, to += stride) {
      const low = f32x4.add(v128.load(from), bias0);
      const high = f32x4.add(v128.load(from, 16), bias1);
      const gate = v128.shuffle<f32>(low, high, 0, 2, 4, 6);
      const up = v128.shuffle<f32>(low, high, 1, 3, 5, 7);
      const halves = narrowHalf(clampedSwiglu(gate, up, f32x4.splat(alpha), f32x4.splat(limit)));
      v128.store64_lane(to, i16x8.narrow_i32x4_u(halves, halves), 0);
    }
  }
}

export function storeLinear(
  c: usize,
  rowTiles: i32,
  panels: i32,
  panelStride: usize,
  bias: usize,
  out: usize,
  stride: usize,
): void {
  const rows = <usize> rowTiles * 6;
  for (let p: i32 = 0; p < panels; p++, c += panelStride, bias += 32, out += 16) {
    const bias0 = v128.load(bias);
    const bias1 = v128.load(bias, 16);
    for (let r: usize = 0, from = c, to = out; r < rows; r++, from += 32, to += stride) {
      const low = narrowHalf(f32x4.add(v128.load(from), bias0));
      const high = narrowHalf(f32x4.add(v128.load(from, 16), bias1));
      v128.store(to, i16x8.narrow_i32x4_u(low, high));
    }
  }
}
