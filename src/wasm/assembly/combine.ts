// The weighted sum of a token's expert rows, and the statistics of an output.
import { BF16, F16 } from "../codes";
import { load4, shiftOf, store8 } from "./element";

// out = sum over slots, in slot order, of weights[slot] * rows[slot], in f32 with one rounding. `columns` is a multiple of 8.
// The distance between the rows of two slots is `stride` bytes. No operation is fused, so the bits are the same on every
// machine.
// @ts-ignore: decorator
@inline
function combineRows<T>(rows: usize, stride: usize, weights: usize, slots: i32, columns: i32, out: usize): void {
  const four: usize = 4 << shiftOf<T>();
  for (let column: i32 = 0; column < columns; column += 8, rows += 2 * four, out += 2 * four) {
    let low = f32x4.splat(0);
    let high = low;
    let from = rows;
    for (let slot: i32 = 0; slot < slots; slot++, from += stride) {
      const weight = v128.load32_splat(weights + (<usize> slot << 2));
      low = f32x4.add(low, f32x4.mul(weight, load4<T>(from)));
      high = f32x4.add(high, f32x4.mul(weight, load4<T>(from + four)));
    }
    store8<T>(out, low, high);
  }
}

export function combine(
  dtype: i32,
  rows: usize,
  stride: usize,
  weights: usize,
  slots: i32,
  columns: i32,
  out: usize,
): void {
  if (dtype == F16) combineRows<u16>(rows, stride, weights, slots, columns, out);
  else if (dtype == BF16) combineRows<i16>(rows, stride, weights, slots, columns, out);
  else combineRows<f32>(rows, stride, weights, slots, columns, out);
}

// Writes four f64 to `out`: the sum, the sum of magnitudes, the minimum and the maximum of `count` elements. `count` is a
// multiple of 4. If an element is NaN, all four are NaN.
// @ts-ignore: decorator
@inline
function statisticsOf<T>(values: usize, count: i32, out: usize): void {
  let sum0 = f64x2.splat(0), sum1 = sum0, magnitude0 = sum0, magnitude1 = sum0;
  let low = f32x4.splat(Infinity), high = f32x4.splat(-Infinity);
  for (const end = values + (<usize> count << shiftOf<T>()); values < end; values += 4 << shiftOf<T>()) {
    const x = load4<T>(values);
    low = f32x4.min(low, x);
    high = f32x4.max(high, x);
    const x0 = f64x2.promote_low_f32x4(x);
    const x1 = f64x2.promote_low_f32x4(v128.shuffle<i64>(x, x, 1, 1));
    sum0 = f64x2.add(sum0, x0);
    sum1 = f64x2.add(sum1, x1);
    magnitude0 = f64x2.add(magnitude0, f64x2.abs(x0));
    magnitude1 = f64x2.add(magnitude1, f64x2.abs(x1));
  }
  const sum = f64x2.add(sum0, sum1);
  const magnitude = f64x2.add(magnitude0, magnitude1);
  f64.store(out, f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1));
  f64.store(out + 8, f64x2.extract_lane(magnitude, 0) + f64x2.extract_lane(magnitude, 1));
  low = f32x4.min(low, v128.shuffle<i64>(low, low, 1, 1));
  low = f32x4.min(low, v128.shuffle<i32>(low, low, 1, 1, 1, 1));
  high = f32x4.max(high, v128.shuffle<i64>(high, high, 1, 1));
  high = f32x4.max(high, v128.shuffle<i32>(high, high, 1, 1, 1, 1));
  f64.store(out + 16, f32x4.extract_lane(low, 0));
  f64.store(out + 24, f32x4.extract_lane(high, 0));
}

export function statistics(dtype: i32, values: usize, count: i32, out: usize): void {
  if (dtype == F16) statisticsOf<u16>(values, count, out);
  else if (dtype == BF16) statisticsOf<i16>(values, count, out);
  else statisticsOf<f32>(values, count, out);
}
