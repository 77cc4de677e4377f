// The exports of the WebAssembly module.
export { normals, twist, uniforms } from "./random";
export { packEight, packSix, spread, transpose, widen } from "./pack";
export { decodeRows, widenScales } from "./packed";
export { decodeEights } from "./packed_eights";
export { multiply } from "./gemm";
export { multiplyFew, orderFew, packFew } from "./few";
export { multiplyFewPairs } from "./few_packed";
export { store } from "./epilogue";
export { combine, statistics } from "./combine";
export { maddPeak } from "./peak";
export { buffersEnd } from "./constants";
