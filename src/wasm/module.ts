// The WebAssembly module: the types of its exports, and its one compiled copy.
import { kernels } from "./kernels.ts";

/**
 * The exports of the module in `assembly/`. Pointers, strides and sizes are in bytes; counts are in elements, rows or
 * tiles.
 */
export interface Kernels {
  twist(window: number, count: number): void;
  uniforms(words: number, count: number, out: number): void;
  normals(dtype: number, words: number, count: number, out: number, scale: number): void;
  widen(
    dtype: number,
    pairs: boolean,
    source: number,
    stride: number,
    rows: number,
    groups: number,
    sourceStep: number,
    sourceHigh: number,
    out: number,
    rowStep: number,
    groupStep: number,
    high: number,
  ): void;
  spread(from: number, rows: number, bytes: number, out: number, stride: number): void;
  widenScales(type: number, from: number, count: number, factor: number, to: number): void;
  decodeRows(
    dtype: number,
    kind: number,
    rows: number,
    values: number,
    valueStride: number,
    scales: number,
    zeros: number,
    scaleStride: number,
    start: number,
    count: number,
    group: number,
    out: number,
    stride: number,
  ): void;
  decodeEights(
    dtype: number,
    kind: number,
    panels: number,
    values: number,
    valueStride: number,
    valueHigh: number,
    valueStep: number,
    scales: number,
    zeros: number,
    scaleStride: number,
    scaleHigh: number,
    scaleStep: number,
    start: number,
    count: number,
    group: number,
    out: number,
    outStep: number,
  ): void;
  packSix(dtype: number, source: number, stride: number, depth: number, tiles: number, out: number): void;
  packEight(dtype: number, source: number, stride: number, depth: number, panels: number, out: number): void;
  packFew(dtype: number, source: number, stride: number, depth: number, rows: number, out: number): void;
  transpose(
    dtype: number,
    source: number,
    stride: number,
    high: number,
    step: number,
    depth: number,
    blocks: number,
    out: number,
  ): void;
  multiply(
    rowTiles: number,
    panels: number,
    depth: number,
    a: number,
    b: number,
    c: number,
    panelStride: number,
    add: boolean,
  ): void;
  multiplyFew(
    dtype: number,
    pairs: boolean,
    rows: number,
    groups: number,
    depth: number,
    a: number,
    start: number,
    count: number,
    b: number,
    stride: number,
    sums: number,
    c: number,
    first: boolean,
    last: boolean,
    add: boolean,
  ): void;
  orderFew(split: boolean, rows: number, groups: number, sums: number, out: number): void;
  multiplyFewPairs(
    dtype: number,
    kind: number,
    rows: number,
    groups: number,
    depth: number,
    a: number,
    start: number,
    count: number,
    values: number,
    valueStride: number,
    valueHigh: number,
    valueStep: number,
    scales: number,
    zeros: number,
    scaleStride: number,
    scaleHigh: number,
    scaleStep: number,
    scaleType: number,
    group: number,
    sums: number,
    c: number,
    first: boolean,
    last: boolean,
    add: boolean,
  ): void;
  store(
    dtype: number,
    activation: number,
    gated: boolean,
    c: number,
    rows: number,
    groups: number,
    rowStep: number,
    groupStep: number,
    high: number,
    bias: number,
    alpha: number,
    limit: number,
    out: number,
    stride: number,
  ): void;
  combine(
    dtype: number,
    rows: number,
    stride: number,
    weights: number,
    slots: number,
    columns: number,
    out: number,
  ): void;
  statistics(dtype: number, values: number, count: number, out: number): void;
  maddPeak(rounds: number): number;
  buffersEnd(): number;
}

let compiled: WebAssembly.Module | undefined;

/** Returns the module, and compiles it on first use. */
export function kernelModule(): WebAssembly.Module {
  if (!compiled) {
    // With a static import, other runtimes would fail before require_deno.ts can say what is wrong.
    const { brotliDecompressSync } = process.getBuiltinModule("node:zlib");
    compiled = new WebAssembly.Module(new Uint8Array(brotliDecompressSync(Uint8Array.fromBase64(kernels))));
  }
  return compiled;
}
