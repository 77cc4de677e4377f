// The numbers that TypeScript passes to the WebAssembly kernels. Both compilers read this file: it uses only what
// TypeScript and AssemblyScript have in common.

// Element types.
export const F16 = 0;
export const BF16 = 1;
export const F32 = 2;

// No activation. The activations have numbers from 1 on: see `activationRules` in the contract.
export const NONE = 0;
