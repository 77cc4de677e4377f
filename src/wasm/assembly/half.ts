// Half precision in 4-lane SIMD. WebAssembly has no fp16 instructions, so both directions are integer and f32 arithmetic.
// Nothing here multiplies a subnormal: that costs an x86 core about 150 cycles each.

// Widens four f16 bit patterns, zero-extended in i32 lanes, to f32. Exact, infinities and NaN included.
// @ts-ignore: decorator

export function widenHalf(bits: v128): v128 {
  const magnitude = i32x4.shl(v128.and(bits, i32x4.splat(0x7fff)), 13);
  const sign = i32x4.shl(v128.and(bits, i32x4.splat(0x8000)), 16);
  // Rebias the exponent by 127 - 15. A subnormal then reads 2^-15 (1 + m/1024) where 2^-14 m/1024 is meant.
  const normal = i32x4.add(magnitude, i32x4.splat(112 << 23));
  const subnormal = f32x4.sub(f32x4.add(normal, normal), f32x4.splat(6.103515625e-5));
  const finite = v128.bitselect(subnormal, normal, i32x4.lt_s(magnitude, i32x4.splat(1 << 23)));
  const special = v128.and(i32x4.ge_s(magnitude, i32x4.splat(31 << 23)), i32x4.splat(0x7f800000));
  return v128.or(v128.or(finite, special), sign);
}

// Rounds four f32 to the nearest f16, ties to even, and leaves the f16 bit patterns in i32 lanes.
// Adding 2^(e+13) to a value of exponent e drops exactly the bits that f16 lacks, with the hardware's own rounding;
// the difference of the bit patterns is then the f16 significand. Exponents below -14 share f16's subnormal spacing.
// @ts-ignore: decorator

export function narrowHalf(value: v128): v128 {
  const magnitude = v128.and(value, i32x4.splat(0x7fffffff));
  const clamped = i32x4.min_s(magnitude, i32x4.splat(0x47800000)); // 65536: the first binade past f16, which maps to infinity
  const rounder = i32x4.max_s(
    i32x4.add(v128.and(clamped, i32x4.splat(0x7f800000)), i32x4.splat(13 << 23)),
    i32x4.splat(126 << 23),
  );
  const significand = i32x4.sub(f32x4.add(clamped, rounder), rounder);
  const exponent = i32x4.shr_u(i32x4.sub(rounder, i32x4.splat(126 << 23)), 13);
  const finite = i32x4.add(significand, exponent);
  const nan = v128.and(i32x4.gt_s(magnitude, i32x4.splat(0x7f800000)), i32x4.splat(0x7e00));
  return v128.or(v128.or(finite, nan), i32x4.shl(i32x4.shr_u(value, 31), 15));
}

// Rounds four f32 to the nearest f16 and leaves them as f32. For finite values that do not overflow f16.
// @ts-ignore: decorator

export function roundHalf(value: v128): v128 {
  // As narrowHalf, with 1.5 times the rounder so that the sum keeps its binade for both signs.
  const exponent = v128.and(value, i32x4.splat(0x7f800000));
  const rounder = v128.or(
    i32x4.max_s(i32x4.add(exponent, i32x4.splat(13 << 23)), i32x4.splat(126 << 23)),
    i32x4.splat(0x400000),
  );
  return f32x4.sub(f32x4.add(value, rounder), rounder);
}
