// The peak rate of multiply-adds on one core, without loads and stores. The rate of `multiply` is compared with it.

// Does 48 multiply-adds of four lanes in each round, in twelve chains. The result depends on all of them, so that the compiler
// does not remove them.
export function maddPeak(rounds: i32): f32 {
  const x = f32x4.splat(<f32> rounds), y = f32x4.splat(1 / <f32> rounds); // not constants, because these are built at each use
  let c0 = y, c1 = y, c2 = y, c3 = y, c4 = y, c5 = y, c6 = y, c7 = y, c8 = y, c9 = y, c10 = y, c11 = y;
  for (; rounds > 0; rounds--) {
    for (let i = 0; i < 4; i++) {
      c0 = f32x4.relaxed_madd(x, y, c0);
      c1 = f32x4.relaxed_madd(x, y, c1);
      c2 = f32x4.relaxed_madd(x, y, c2);
      c3 = f32x4.relaxed_madd(x, y, c3);
      c4 = f32x4.relaxed_madd(x, y, c4);
      c5 = f32x4.relaxed_madd(x, y, c5);
      c6 = f32x4.relaxed_madd(x, y, c6);
      c7 = f32x4.relaxed_madd(x, y, c7);
      c8 = f32x4.relaxed_madd(x, y, c8);
      c9 = f32x4.relaxed_madd(x, y, c9);
      c10 = f32x4.relaxed_madd(x, y, c10);
      c11 = f32x4.relaxed_madd(x, y, c11);
    }
  }
  const low = f32x4.add(f32x4.add(f32x4.add(c0, c1), f32x4.add(c2, c3)), f32x4.add(c4, c5));
  const high = f32x4.add(f32x4.add(f32x4.add(c6, c7), f32x4.add(c8, c9)), f32x4.add(c10, c11));
  return f32x4.extract_lane(f32x4.add(low, high), 0);
}
