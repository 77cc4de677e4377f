// The numbers that TypeScript passes to the WebAssembly kernels. Both compilers read this file: it uses only what
// TypeScript and AssemblyScript have in common.

// Element types.
export const F16 = 0;
export const BF16 = 1;
export const F32 = 2;

// Activations.
export const NONE = 0;
export const SWIGLU_OAI = 1;
export const SILU = 2;
export const GELU = 3;
export const GELU_TANH = 4;
export const RELU2 = 5;
