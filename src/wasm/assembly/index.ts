// The exports of the WebAssembly module.
export { normalsF16, normalsF32, twist, uniforms } from "./random";
export { packA, packB } from "./pack";
export { multiply } from "./gemm";
export { storeLinear, storeSwiglu } from "./epilogue";
export { combine, statistics } from "./combine";
