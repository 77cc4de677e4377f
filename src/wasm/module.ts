// The WebAssembly module: its exports' types and its one compiled copy.
import { kernels } from "./kernels.ts";

/** The exports of the module in `assembly/`. Pointers, strides and sizes in bytes; counts in elements, rows or tiles. */
export interface Kernels {
  twist(window: number, count: number): void;
  uniforms(words: number, count: number, out: number): void;
  normalsF32(words: number, count: number, out: number, scale: number): void;
  normalsF16(words: number, count: number, out: number, scale: number): void;
  packA(source: number, stride: number, depth: number, rowTiles: number, out: number): void;
  packB(source: number, stride: number, depth: number, panels: number, out: number): void;
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
  storeSwiglu(
    c: number,
    rowTiles: number,
    panels: number,
    panelStride: number,
    bias: number,
    alpha: number,
    limit: number,
    out: number,
    stride: number,
  ): void;
  storeLinear(
    c: number,
    rowTiles: number,
    panels: number,
    panelStride: number,
    bias: number,
    out: number,
    stride: number,
  ): void;
  combine(rows: number, stride: number, weights: number, slots: number, columns: number, out: number): void;
  statistics(values: number, count: number, out: number): void;
}

let compiled: WebAssembly.Module | undefined;

/** Compiles the module on first use. */
export function kernelModule(): WebAssembly.Module {
  return compiled ??= new WebAssembly.Module(Uint8Array.fromBase64(kernels));
}
