// Four-lane f32 elementary functions for the ranges this project needs.
// Polynomials: S. Moshier, Cephes 2.8 single precision (logf.c, sinf.c, expf.c), the ones behind PyTorch's vectorised randn.
// Only IEEE operations, no relaxed ones: the same bits on every machine.

// @ts-ignore: decorator

function mulAdd(a: v128, b: v128, c: v128): v128 {
  return f32x4.add(f32x4.mul(a, b), c);
}

// Natural logarithm of positive normal values.
// @ts-ignore: decorator

export function log4(x: v128): v128 {
  // x = m 2^e with m in [sqrt(1/2), sqrt(2))
  let exponent = f32x4.convert_i32x4_s(i32x4.sub(i32x4.shr_u(x, 23), i32x4.splat(126)));
  let m = v128.or(v128.and(x, i32x4.splat(0x007fffff)), i32x4.splat(0x3f000000));
  const small = f32x4.lt(m, f32x4.splat(0.707106781186547524));
  exponent = f32x4.sub(exponent, v128.and(small, f32x4.splat(1)));
  m = f32x4.sub(f32x4.add(m, v128.and(small, m)), f32x4.splat(1));

  const z = f32x4.mul(m, m);
  let y = mulAdd(f32x4.splat(7.0376836292e-2), m, f32x4.splat(-1.1514610310e-1));
  y = mulAdd(y, m, f32x4.splat(1.1676998740e-1));
  y = mulAdd(y, m, f32x4.splat(-1.2420140846e-1));
  y = mulAdd(y, m, f32x4.splat(1.4249322787e-1));
  y = mulAdd(y, m, f32x4.splat(-1.6668057665e-1));
  y = mulAdd(y, m, f32x4.splat(2.0000714765e-1));
  y = mulAdd(y, m, f32x4.splat(-2.4999993993e-1));
  y = mulAdd(y, m, f32x4.splat(3.3333331174e-1));
  y = f32x4.mul(f32x4.mul(y, m), z);
  // ln 2 in two parts, the larger exact in few bits
  y = mulAdd(exponent, f32x4.splat(-2.12194440e-4), y);
  y = f32x4.sub(y, f32x4.mul(z, f32x4.splat(0.5)));
  return mulAdd(exponent, f32x4.splat(0.693359375), f32x4.add(m, y));
}

// Reduced argument and octant of an angle in [0, 8192), and from them sine and cosine. AssemblyScript returns one value,
// so the three steps are separate and the compiler shares what they have in common.
// @ts-ignore: decorator

export function octant4(angle: v128): v128 {
  const j = i32x4.trunc_sat_f32x4_s(f32x4.mul(angle, f32x4.splat(1.27323954473516)));
  return v128.and(i32x4.add(j, i32x4.splat(1)), i32x4.splat(~1));
}

// @ts-ignore: decorator

export function reduceAngle4(angle: v128, octant: v128): v128 {
  // pi / 4 in three parts: octant times the first two is exact
  const j = f32x4.convert_i32x4_s(octant);
  let x = mulAdd(j, f32x4.splat(-0.78515625), angle);
  x = mulAdd(j, f32x4.splat(-2.4187564849853515625e-4), x);
  return mulAdd(j, f32x4.splat(-3.77489497744594108e-8), x);
}

// @ts-ignore: decorator

export function sinReduced4(x: v128, z: v128): v128 {
  let y = mulAdd(f32x4.splat(-1.9515295891e-4), z, f32x4.splat(8.3321608736e-3));
  y = mulAdd(y, z, f32x4.splat(-1.6666654611e-1));
  return mulAdd(f32x4.mul(y, z), x, x);
}

// @ts-ignore: decorator

export function cosReduced4(z: v128): v128 {
  let y = mulAdd(f32x4.splat(2.443315711809948e-5), z, f32x4.splat(-1.388731625493765e-3));
  y = mulAdd(y, z, f32x4.splat(4.166664568298827e-2));
  y = f32x4.sub(f32x4.mul(f32x4.mul(y, z), z), f32x4.mul(z, f32x4.splat(0.5)));
  return f32x4.add(y, f32x4.splat(1));
}

// Exponential; saturates to 0 and infinity outside the f32 range.
// @ts-ignore: decorator

export function exp4(x: v128): v128 {
  // with x first, pmin and pmax hand a NaN through
  const clamped = f32x4.pmax(f32x4.pmin(x, f32x4.splat(89)), f32x4.splat(-104));
  const n = f32x4.nearest(f32x4.mul(clamped, f32x4.splat(1.44269504088896341)));
  let r = mulAdd(n, f32x4.splat(-0.693359375), clamped);
  r = mulAdd(n, f32x4.splat(2.12194440e-4), r);
  let y = mulAdd(f32x4.splat(1.9875691500e-4), r, f32x4.splat(1.3981999507e-3));
  y = mulAdd(y, r, f32x4.splat(8.3334519073e-3));
  y = mulAdd(y, r, f32x4.splat(4.1665795894e-2));
  y = mulAdd(y, r, f32x4.splat(1.6666665459e-1));
  y = mulAdd(y, r, f32x4.splat(5.0000001201e-1));
  y = f32x4.add(mulAdd(y, f32x4.mul(r, r), r), f32x4.splat(1));
  // 2^n in two factors, because n reaches past one exponent field at both ends
  const k = i32x4.trunc_sat_f32x4_s(n);
  const half = i32x4.shr_s(k, 1);
  const first = i32x4.shl(i32x4.add(half, i32x4.splat(127)), 23);
  const second = i32x4.shl(i32x4.add(i32x4.sub(k, half), i32x4.splat(127)), 23);
  return f32x4.mul(f32x4.mul(y, first), second);
}
