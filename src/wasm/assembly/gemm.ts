// C += A B on packed panels. A is packed in tiles of 6 rows, B in panels of 8 columns, both with the inner dimension
// outermost, so that every step of the inner loop reads 24 bytes of A and 32 of B in order. C is kept as the sequence of its
// 6x8 tiles, panel by panel: 12 of the 16 SIMD registers that V8 has hold one tile, two hold B, one a broadcast of A.
// Each element of C is a chain of fused multiply-adds over ascending k from zero, then one addition to what C held;
// which elements are computed together does not touch their bits.

export const TILE_ROWS: i32 = 6;
export const TILE_COLUMNS: i32 = 8;
const TILE_BYTES: usize = 6 * 8 * 4;

// @ts-ignore: decorator

function accumulate(c: usize, value: v128): void {
  v128.store(c, f32x4.add(v128.load(c), value));
}

// `depth` is even.
// @ts-ignore: decorator

function tile(depth: i32, a: usize, b: usize, c: usize): void {
  let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00;
  let c30 = c00, c31 = c00, c40 = c00, c41 = c00, c50 = c00, c51 = c00;
  const end = a + <usize> depth * 24;
  while (a < end) {
    let b0 = v128.load(b);
    let b1 = v128.load(b, 16);
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

    b0 = v128.load(b, 32);
    b1 = v128.load(b, 48);
    x = v128.load32_splat(a, 24);
    c00 = f32x4.relaxed_madd(x, b0, c00);
    c01 = f32x4.relaxed_madd(x, b1, c01);
    x = v128.load32_splat(a, 28);
    c10 = f32x4.relaxed_madd(x, b0, c10);
    c11 = f32x4.relaxed_madd(x, b1, c11);
    x = v128.load32_splat(a, 32);
    c20 = f32x4.relaxed_madd(x, b0, c20);
    c21 = f32x4.relaxed_madd(x, b1, c21);
    x = v128.load32_splat(a, 36);
    c30 = f32x4.relaxed_madd(x, b0, c30);
    c31 = f32x4.relaxed_madd(x, b1, c31);
    x = v128.load32_splat(a, 40);
    c40 = f32x4.relaxed_madd(x, b0, c40);
    c41 = f32x4.relaxed_madd(x, b1, c41);
    x = v128.load32_splat(a, 44);
    c50 = f32x4.relaxed_madd(x, b0, c50);
    c51 = f32x4.relaxed_madd(x, b1, c51);
    a += 48;
    b += 64;
  }
  accumulate(c, c00);
  accumulate(c + 16, c01);
  accumulate(c + 32, c10);
  accumulate(c + 48, c11);
  accumulate(c + 64, c20);
  accumulate(c + 80, c21);
  accumulate(c + 96, c30);
  accumulate(c + 112, c31);
  accumulate(c + 128, c40);
  accumulate(c + 144, c41);
  accumulate(c + 160, c50);
  accumulate(c + 176, c51);
}

// Multiplies `rowTiles` tiles of A by `panels` panels of B. C's panels lie `panelStride` bytes apart.
export function multiply(
  rowTiles: i32,
  panels: i32,
  depth: i32,
  a: usize,
  b: usize,
  c: usize,
  panelStride: usize,
): void {
  const tileBytes = <usize> depth * 24;
  const panelBytes = <usize> depth * 32;
  const end = b + <usize> panels * panelBytes;
  for (; b < end; b += panelBytes, c += panelStride) {
    for (let i: usize = 0; i < <usize> rowTiles; i++) tile(depth, a + i * tileBytes, b, c + i * TILE_BYTES);
  }
}
