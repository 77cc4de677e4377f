// Decodes packed weights to f32: a number times its scale, rounded to the dtype of the activations.
import { BF16, E4M3, E8M0, F16, F32, PACKED_E4M3, U8 } from "../codes";
import { HALF_FINITE, MAGNITUDE, REBIAS_E4M3, SIGN_E4M3 } from "./constants";
import { roundBrain } from "./element";
import { narrowHalf, roundHalf, widenHalf } from "./half";

// The 16 numbers of each kind, as bf16: the upper bytes, then the lower bytes. All are exact.
export const tables: usize = memory.data<u8>([
  // E2M1: 0, 0.5, 1, 1.5, 2, 3, 4, 6, and the same with a sign
  0x00, 0x3f, 0x3f, 0x3f, 0x40, 0x40, 0x40, 0x40, 0x80, 0xbf, 0xbf, 0xbf, 0xc0, 0xc0, 0xc0, 0xc0,
  0x00, 0x00, 0x80, 0xc0, 0x00, 0x40, 0x80, 0xc0, 0x00, 0x00, 0x80, 0xc0, 0x00, 0x40, 0x80, 0xc0,
  // with an offset: -8 to 7
  0xc1, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xbf, 0x00, 0x3f, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40,
  0x00, 0xe0, 0xc0, 0xa0, 0x80, 0x40, 0x00, 0x80, 0x00, 0x80, 0x00, 0x40, 0x80, 0xa0, 0xc0, 0xe0,
  // signed: 0 to 7, -8 to -1
  0x00, 0x3f, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0xc1, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0, 0xbf,
  0x00, 0x80, 0x00, 0x40, 0x80, 0xa0, 0xc0, 0xe0, 0x00, 0xe0, 0xc0, 0xa0, 0x80, 0x40, 0x00, 0x80,
  // unsigned: 0 to 15
  0x00, 0x3f, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x41, 0x41, 0x41, 0x41, 0x41, 0x41, 0x41, 0x41,
  0x00, 0x80, 0x00, 0x40, 0x80, 0xa0, 0xc0, 0xe0, 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70,
], 16);

// The value of an E4M3 number.
// @ts-ignore: decorator
@inline
function valueE4M3(bits: u32): f32 {
  const magnitude = bits & 127;
  const sign = (bits & 128) << 24;
  if (magnitude == 127) return reinterpret<f32>(sign | 0x7fc00000);
  const value = magnitude < 8
    ? reinterpret<u32>(<f32> magnitude * <f32> 0.001953125)
    : (magnitude << 20) + 0x3c000000;
  return reinterpret<f32>(sign | value);
}

// @ts-ignore: decorator
@inline
function valueE8M0(bits: u32): f32 {
  return reinterpret<f32>(bits == 0 ? 0x00400000 : bits << 23);
}

// Converts 16 E8M0 scales to f32.
// @ts-ignore: decorator
@inline
function widenSixteen(from: usize, to: usize): void {
  const low = v128.load8x8_u(from), high = v128.load8x8_u(from + 8);
  const least = i32x4.splat(0x00400000);
  v128.store(to, i32x4.max_u(i32x4.shl(i32x4.extend_low_i16x8_u(low), 23), least));
  v128.store(to, i32x4.max_u(i32x4.shl(i32x4.extend_high_i16x8_u(low), 23), least), 16);
  v128.store(to, i32x4.max_u(i32x4.shl(i32x4.extend_low_i16x8_u(high), 23), least), 32);
  v128.store(to, i32x4.max_u(i32x4.shl(i32x4.extend_high_i16x8_u(high), 23), least), 48);
}

// Converts scales or zero points to f32, and multiplies them by a factor.
export function widenScales(type: i32, from: usize, count: i32, factor: f32, to: usize): void {
  if (type == E8M0 && factor == 1) {
    for (; count >= 16; count -= 16, from += 16, to += 64) widenSixteen(from, to);
  }
  for (const end = to + (<usize> count << 2); to < end; to += 4) {
    let value: f32;
    if (type == E8M0 || type == E4M3 || type == U8) {
      const bits = <u32> load<u8>(from++);
      value = type == E8M0 ? valueE8M0(bits) : type == E4M3 ? valueE4M3(bits) : <f32> bits;
    } else if (type == F32) {
      value = load<f32>(from);
      from += 4;
    } else {
      const bits = <u32> load<u16>(from);
      value = type == BF16 ? reinterpret<f32>(bits << 16) : f32x4.extract_lane(widenHalf(i32x4.splat(bits)), 0);
      from += 2;
    }
    store<f32>(to, value * factor);
  }
}

// Rounds four f32 to an element type. The type parameter is u16 for f16, i16 for bf16, and f32 for f32.
// @ts-ignore: decorator
@inline
export function roundTo<T>(value: v128): v128 {
  if (isFloat<T>()) return value;
  if (isSigned<T>()) return roundBrain(value);
  const beyond = i32x4.gt_s(v128.and(value, v128.load(MAGNITUDE)), v128.load(HALF_FINITE));
  return v128.any_true(beyond) ? widenHalf(narrowHalf(value)) : roundHalf(value);
}

// Decodes four numbers, the upper halves of whose f32 are in the lower or the upper half of `upper`.
// @ts-ignore: decorator
@inline
function decode4<T>(value: v128, zero: v128, scale: v128, hasZeros: bool, out: usize): void {
  const number = hasZeros ? f32x4.sub(value, zero) : value;
  v128.store(out, roundTo<T>(f32x4.mul(number, scale)));
}

// Decodes 16 numbers of four bits.
// @ts-ignore: decorator
@inline
function decode16<T>(pairs: usize, high: v128, low: v128, zero: v128, scale: v128, hasZeros: bool, out: usize): void {
  const bits = v128.load64_zero(pairs);
  const even = v128.and(bits, i8x16.splat(15)), odd = i8x16.shr_u(bits, 4);
  const numbers = v128.shuffle<i8>(even, odd, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const upper = i8x16.relaxed_swizzle(high, numbers), lower = i8x16.relaxed_swizzle(low, numbers);
  const first = v128.shuffle<i8>(lower, upper, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const second = v128.shuffle<i8>(lower, upper, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  const none = i32x4.splat(0);
  decode4<T>(v128.shuffle<i16>(none, first, 0, 8, 1, 9, 2, 10, 3, 11), zero, scale, hasZeros, out);
  decode4<T>(v128.shuffle<i16>(none, first, 4, 12, 5, 13, 6, 14, 7, 15), zero, scale, hasZeros, out + 16);
  decode4<T>(v128.shuffle<i16>(none, second, 0, 8, 1, 9, 2, 10, 3, 11), zero, scale, hasZeros, out + 32);
  decode4<T>(v128.shuffle<i16>(none, second, 4, 12, 5, 13, 6, 14, 7, 15), zero, scale, hasZeros, out + 48);
}

// Decodes 4 of 16 E4M3 numbers, whose bytes are in the uppermost bytes of the lanes. They are neither subnormal nor NaN.
// @ts-ignore: decorator
@inline
function decodeNormal<T>(bits: v128, scale: v128, out: usize): void {
  const value = i32x4.add(v128.and(i32x4.shr_s(bits, 4), v128.load(SIGN_E4M3)), v128.load(REBIAS_E4M3));
  v128.store(out, roundTo<T>(f32x4.mul(value, scale)));
}

// Decodes `count` E4M3 numbers with one scale.
// @ts-ignore: decorator
@inline
function decodeRun<T>(values: usize, count: i32, scale: v128, out: usize): void {
  const none = i32x4.splat(0);
  for (; count >= 16; count -= 16, values += 16, out += 64) {
    const bits = v128.load(values);
    const magnitude = v128.and(bits, i8x16.splat(127));
    if (i8x16.all_true(i8x16.lt_u(i8x16.sub(magnitude, i8x16.splat(8)), i8x16.splat(119)))) {
      const first = v128.shuffle<i8>(none, bits, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      const second = v128.shuffle<i8>(none, bits, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      decodeNormal<T>(v128.shuffle<i16>(none, first, 0, 8, 1, 9, 2, 10, 3, 11), scale, out);
      decodeNormal<T>(v128.shuffle<i16>(none, first, 4, 12, 5, 13, 6, 14, 7, 15), scale, out + 16);
      decodeNormal<T>(v128.shuffle<i16>(none, second, 0, 8, 1, 9, 2, 10, 3, 11), scale, out + 32);
      decodeNormal<T>(v128.shuffle<i16>(none, second, 4, 12, 5, 13, 6, 14, 7, 15), scale, out + 48);
    } else {
      decodeEach<T>(values, 16, scale, out);
    }
  }
  if (count > 0) decodeEach<T>(values, count, scale, out);
}

// Decodes E4M3 numbers one by one.
function decodeEach<T>(values: usize, count: i32, scale: v128, out: usize): void {
  for (let i: usize = 0; i < <usize> count; i++) {
    const value = f32x4.splat(valueE4M3(<u32> load<u8>(values + i)));
    v128.store32_lane(out + (i << 2), roundTo<T>(f32x4.mul(value, scale)), 0);
  }
}

// @ts-ignore: decorator
@inline
function rowsOf<T>(
  kind: i32,
  rows: i32,
  values: usize,
  valueStride: usize,
  scales: usize,
  zeros: usize,
  scaleStride: usize,
  start: i32,
  count: i32,
  group: i32,
  out: usize,
  stride: usize,
): void {
  const table = tables + (<usize> kind << 5);
  const high = v128.load(table), low = v128.load(table, 16);
  const hasZeros = zeros != 0;
  const firstGroup = start / group, firstLeft = group - start % group;
  for (; rows > 0; rows--, values += valueStride, scales += scaleStride, zeros += scaleStride, out += stride) {
    let at: usize = <usize> firstGroup << 2, left = count, size = firstLeft, to = out;
    let from = values + (kind == PACKED_E4M3 ? start : start >> 1);
    for (; left > 0; left -= size, size = group, at += 4) {
      if (size > left) size = left;
      const scale = v128.load32_splat(scales + at);
      if (kind == PACKED_E4M3) {
        decodeRun<T>(from, size, scale, to);
        from += size;
        to += <usize> size << 2;
      } else if (hasZeros) {
        const zero = v128.load32_splat(zeros + at);
        for (const end = to + (<usize> size << 2); to < end; from += 8, to += 64) {
          decode16<T>(from, high, low, zero, scale, true, to);
        }
      } else {
        for (const end = to + (<usize> size << 2); to < end; from += 8, to += 64) {
          decode16<T>(from, high, low, scale, scale, false, to);
        }
      }
    }
  }
}

// Decodes the numbers from `start` to `start + count` of each of some rows. For pairs, both are multiples of 16, as is the
// group. `scales` and `zeros` have an f32 for each group of a row; without zero points, `zeros` is 0.
export function decodeRows(
  dtype: i32,
  kind: i32,
  rows: i32,
  values: usize,
  valueStride: usize,
  scales: usize,
  zeros: usize,
  scaleStride: usize,
  start: i32,
  count: i32,
  group: i32,
  out: usize,
  stride: usize,
): void {
  if (dtype == F16) rowsOf<u16>(kind, rows, values, valueStride, scales, zeros, scaleStride, start, count, group, out, stride);
  else if (dtype == BF16) rowsOf<i16>(kind, rows, values, valueStride, scales, zeros, scaleStride, start, count, group, out, stride);
  else rowsOf<f32>(kind, rows, values, valueStride, scales, zeros, scaleStride, start, count, group, out, stride);
}
