// C = A B, or C += A B, on packed panels. A is packed in tiles of 6 rows, B in panels of 8 columns. In both, the inner
// dimension is the outermost one, so each step of the inner loop reads the next 24 bytes of A and the next 32 bytes of B. C is a sequence
// of 6x8 tiles, panel by panel. A tile needs 12 of the 15 SIMD registers that V8 has on x86.
// Each element of C is a chain of fused multiply-adds over ascending k from zero, then one addition to the old value of C. Its
// bits do not depend on which elements are computed together.

const TILE_BYTES: usize = 6 * 8 * 4;

// @ts-ignore: decorator
@inline
function put(c: usize, value: v128, add: bool): void {
  v128.store(c, add ? f32x4.add(v128.load(c), value) : value);
}

// Takes one step of the depth at a time. With two steps, the optimizers mix their instructions, and some of the twelve sums no
// longer fit in registers. For the same reason, the values of A are loaded one by one, not four at a time with shuffles.
// @ts-ignore: decorator
@inline
function tile(depth: i32, a: usize, b: usize, c: usize, add: bool): void {
  let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00;
  let c30 = c00, c31 = c00, c40 = c00, c41 = c00, c50 = c00, c51 = c00;
  for (const end = a + <usize> depth * 24; a < end; a += 24, b += 32) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let x = v128.load32_splat(a);
    c00 = f32x4.relaxed_madd(x, b0, c00);
    c01 = f32x4.relaxed_madd(x, b1, c01);
    x = v128.load32_splat(a, 4);
    c10 = f32x4.relaxed_madd(x, b0, c10);
    c11 = f32x4.relaxed_madd(x, b1, c11);
    x = v128.load32_splat(a, 8);
    c20 = f32x4.relaxed_madd(x, b0, c20);
    c21 = f32x4.relaxed_madd(x, b1, c21);
    x = v128.load32_splat(a, 12);
    c30 = f32x4.relaxed_madd(x, b0, c30);
    c31 = f32x4.relaxed_madd(x, b1, c31);
    x = v128.load32_splat(a, 16);
    c40 = f32x4.relaxed_madd(x, b0, c40);
    c41 = f32x4.relaxed_madd(x, b1, c41);
    x = v128.load32_splat(a, 20);
    c50 = f32x4.relaxed_madd(x, b0, c50);
    c51 = f32x4.relaxed_madd(x, b1, c51);
  }
  put(c, c00, add);
  put(c + 16, c01, add);
  put(c + 32, c10, add);
  put(c + 48, c11, add);
  put(c + 64, c20, add);
  put(c + 80, c21, add);
  put(c + 96, c30, add);
  put(c + 112, c31, add);
  put(c + 128, c40, add);
  put(c + 144, c41, add);
  put(c + 160, c50, add);
  put(c + 176, c51, add);
}

// Multiplies `rowTiles` tiles of A by `panels` panels of B. The distance between two panels of C is `panelStride` bytes. With
// `add`, the product is added to C.
export function multiply(
  rowTiles: i32,
  panels: i32,
  depth: i32,
  a: usize,
  b: usize,
  c: usize,
  panelStride: usize,
  add: bool,
): void {
  const tileBytes = <usize> depth * 24;
  const panelBytes = <usize> depth * 32;
  const end = b + <usize> panels * panelBytes;
  const rowTilesEnd = a + <usize> rowTiles * tileBytes;
  for (; b < end; b += panelBytes, c += panelStride) {
    // Two loops, so that `add` is a constant in each.
    if (add) { for (let i = a, to = c; i < rowTilesEnd; i += tileBytes, to += TILE_BYTES) tile(depth, i, b, to, true); }
    else for (let i = a, to = c; i < rowTilesEnd; i += tileBytes, to += TILE_BYTES) tile(depth, i, b, to, false);
  }
}
