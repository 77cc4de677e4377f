// The numbers that TypeScript passes to the WebAssembly kernels. Both compilers read this file: it uses only what
// TypeScript and AssemblyScript have in common.

// Element types.
export const F16 = 0;
export const BF16 = 1;
export const F32 = 2;

// No activation. The activations have numbers from 1 on: see `activationRules` in the contract.
export const NONE = 0;

// Types of scales and zero points, besides the element types.
export const E8M0 = 3;
export const E4M3 = 4;
export const U8 = 5;

// Packed numbers: pairs of four bits, and E4M3.
export const PACKED_E2M1 = 0;
export const PACKED_OFFSET = 1;
export const PACKED_SIGNED = 2;
export const PACKED_UNSIGNED = 3;
export const PACKED_E4M3 = 4;
