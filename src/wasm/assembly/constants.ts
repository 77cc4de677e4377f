// Vector constants in memory, four lanes each. V8 builds a constant in the code at each use, with three instructions. A load
// from an address that the compiler knows is one instruction. The exported names are these addresses.

const floats: usize = memory.data<f32>([
  7.0376836292e-2, 7.0376836292e-2, 7.0376836292e-2, 7.0376836292e-2,
  -1.1514610310e-1, -1.1514610310e-1, -1.1514610310e-1, -1.1514610310e-1,
  1.1676998740e-1, 1.1676998740e-1, 1.1676998740e-1, 1.1676998740e-1,
  -1.2420140846e-1, -1.2420140846e-1, -1.2420140846e-1, -1.2420140846e-1,
  1.4249322787e-1, 1.4249322787e-1, 1.4249322787e-1, 1.4249322787e-1,
  -1.6668057665e-1, -1.6668057665e-1, -1.6668057665e-1, -1.6668057665e-1,
  2.0000714765e-1, 2.0000714765e-1, 2.0000714765e-1, 2.0000714765e-1,
  -2.4999993993e-1, -2.4999993993e-1, -2.4999993993e-1, -2.4999993993e-1,
  3.3333331174e-1, 3.3333331174e-1, 3.3333331174e-1, 3.3333331174e-1,
  0.707106781186547524, 0.707106781186547524, 0.707106781186547524, 0.707106781186547524,
  -2.12194440e-4, -2.12194440e-4, -2.12194440e-4, -2.12194440e-4,
  0.693359375, 0.693359375, 0.693359375, 0.693359375,
  1.27323954473516, 1.27323954473516, 1.27323954473516, 1.27323954473516,
  -0.78515625, -0.78515625, -0.78515625, -0.78515625,
  -2.4187564849853515625e-4, -2.4187564849853515625e-4, -2.4187564849853515625e-4, -2.4187564849853515625e-4,
  -3.77489497744594108e-8, -3.77489497744594108e-8, -3.77489497744594108e-8, -3.77489497744594108e-8,
  -1.9515295891e-4, -1.9515295891e-4, -1.9515295891e-4, -1.9515295891e-4,
  8.3321608736e-3, 8.3321608736e-3, 8.3321608736e-3, 8.3321608736e-3,
  -1.6666654611e-1, -1.6666654611e-1, -1.6666654611e-1, -1.6666654611e-1,
  2.443315711809948e-5, 2.443315711809948e-5, 2.443315711809948e-5, 2.443315711809948e-5,
  -1.388731625493765e-3, -1.388731625493765e-3, -1.388731625493765e-3, -1.388731625493765e-3,
  4.166664568298827e-2, 4.166664568298827e-2, 4.166664568298827e-2, 4.166664568298827e-2,
  0.5, 0.5, 0.5, 0.5,
  1, 1, 1, 1,
  -2, -2, -2, -2,
  6.283185307179586, 6.283185307179586, 6.283185307179586, 6.283185307179586,
  5.9604644775390625e-8, 5.9604644775390625e-8, 5.9604644775390625e-8, 5.9604644775390625e-8,
  6.103515625e-5, 6.103515625e-5, 6.103515625e-5, 6.103515625e-5,
  89, 89, 89, 89,
  -104, -104, -104, -104,
  1.44269504088896341, 1.44269504088896341, 1.44269504088896341, 1.44269504088896341,
  -0.693359375, -0.693359375, -0.693359375, -0.693359375,
  2.12194440e-4, 2.12194440e-4, 2.12194440e-4, 2.12194440e-4,
  1.9875691500e-4, 1.9875691500e-4, 1.9875691500e-4, 1.9875691500e-4,
  1.3981999507e-3, 1.3981999507e-3, 1.3981999507e-3, 1.3981999507e-3,
  8.3334519073e-3, 8.3334519073e-3, 8.3334519073e-3, 8.3334519073e-3,
  4.1665795894e-2, 4.1665795894e-2, 4.1665795894e-2, 4.1665795894e-2,
  1.6666665459e-1, 1.6666665459e-1, 1.6666665459e-1, 1.6666665459e-1,
  5.0000001201e-1, 5.0000001201e-1, 5.0000001201e-1, 5.0000001201e-1,
  0.3275911, 0.3275911, 0.3275911, 0.3275911,
  1.061405429, 1.061405429, 1.061405429, 1.061405429,
  -1.453152027, -1.453152027, -1.453152027, -1.453152027,
  1.421413741, 1.421413741, 1.421413741, 1.421413741,
  -0.284496736, -0.284496736, -0.284496736, -0.284496736,
  0.254829592, 0.254829592, 0.254829592, 0.254829592,
  0.044715, 0.044715, 0.044715, 0.044715,
  -1.5957691216057308, -1.5957691216057308, -1.5957691216057308, -1.5957691216057308,
], 16);

const integers: usize = memory.data<u32>([
  0x007fffff, 0x007fffff, 0x007fffff, 0x007fffff,
  126, 126, 126, 126,
  1, 1, 1, 1,
  2, 2, 2, 2,
  4, 4, 4, 4,
  0xfffffffe, 0xfffffffe, 0xfffffffe, 0xfffffffe,
  0x9d2c5680, 0x9d2c5680, 0x9d2c5680, 0x9d2c5680,
  0xefc60000, 0xefc60000, 0xefc60000, 0xefc60000,
  0xffffff, 0xffffff, 0xffffff, 0xffffff,
  0x7f800000, 0x7f800000, 0x7f800000, 0x7f800000,
  0x06800000, 0x06800000, 0x06800000, 0x06800000,
  0x3f000000, 0x3f000000, 0x3f000000, 0x3f000000,
  0x00400000, 0x00400000, 0x00400000, 0x00400000,
  0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff,
  0x80000000, 0x80000000, 0x80000000, 0x80000000,
  0x9908b0df, 0x9908b0df, 0x9908b0df, 0x9908b0df,
  0x7fff, 0x7fff, 0x7fff, 0x7fff,
  0x8000, 0x8000, 0x8000, 0x8000,
  0x38000000, 0x38000000, 0x38000000, 0x38000000,
  0x00800000, 0x00800000, 0x00800000, 0x00800000,
  0x0f800000, 0x0f800000, 0x0f800000, 0x0f800000,
  0x47800000, 0x47800000, 0x47800000, 0x47800000,
  0x7e00, 0x7e00, 0x7e00, 0x7e00,
  127, 127, 127, 127,
  0x8fffe000, 0x8fffe000, 0x8fffe000, 0x8fffe000,
  0x7fff7fff, 0x7fff7fff, 0x7fff7fff, 0x7fff7fff,
  0x04000400, 0x04000400, 0x04000400, 0x04000400,
  0x78007800, 0x78007800, 0x78007800, 0x78007800,
  0x80008000, 0x80008000, 0x80008000, 0x80008000,
  0x06c00000, 0x06c00000, 0x06c00000, 0x06c00000,
  0x3f400000, 0x3f400000, 0x3f400000, 0x3f400000,
  0xc8000fff, 0xc8000fff, 0xc8000fff, 0xc8000fff,
  0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000,
  0x477fe000, 0x477fe000, 0x477fe000, 0x477fe000,
  0x87f00000, 0x87f00000, 0x87f00000, 0x87f00000,
  0x3c000000, 0x3c000000, 0x3c000000, 0x3c000000,
], 16);

export const LOG_8: usize = floats + 0;
export const LOG_7: usize = floats + 16;
export const LOG_6: usize = floats + 32;
export const LOG_5: usize = floats + 48;
export const LOG_4: usize = floats + 64;
export const LOG_3: usize = floats + 80;
export const LOG_2: usize = floats + 96;
export const LOG_1: usize = floats + 112;
export const LOG_0: usize = floats + 128;
export const SQRT_HALF: usize = floats + 144;
export const LN2_LOW: usize = floats + 160;
export const LN2_HIGH: usize = floats + 176;
export const FOUR_OVER_PI: usize = floats + 192;
export const PI_4_A: usize = floats + 208;
export const PI_4_B: usize = floats + 224;
export const PI_4_C: usize = floats + 240;
export const SIN_2: usize = floats + 256;
export const SIN_1: usize = floats + 272;
export const SIN_0: usize = floats + 288;
export const COS_2: usize = floats + 304;
export const COS_1: usize = floats + 320;
export const COS_0: usize = floats + 336;
export const HALF: usize = floats + 352;
export const ONE: usize = floats + 368;
export const MINUS_TWO: usize = floats + 384;
export const TWO_PI: usize = floats + 400;
export const TWO_TO_MINUS_24: usize = floats + 416;
export const TWO_TO_MINUS_14: usize = floats + 432;
export const EXP_MAX: usize = floats + 448;
export const EXP_MIN: usize = floats + 464;
export const LOG2_E: usize = floats + 480;
export const MINUS_LN2_HIGH: usize = floats + 496;
export const MINUS_LN2_LOW: usize = floats + 512;
export const EXP_5: usize = floats + 528;
export const EXP_4: usize = floats + 544;
export const EXP_3: usize = floats + 560;
export const EXP_2: usize = floats + 576;
export const EXP_1: usize = floats + 592;
export const EXP_0: usize = floats + 608;
export const ERF_P: usize = floats + 624;
export const ERF_4: usize = floats + 640;
export const ERF_3: usize = floats + 656;
export const ERF_2: usize = floats + 672;
export const ERF_1: usize = floats + 688;
export const ERF_0: usize = floats + 704;
export const GELU_CUBE: usize = floats + 720;
export const GELU_SCALE: usize = floats + 736;

export const MANTISSA: usize = integers + 0;
export const BIAS_1: usize = integers + 16;
export const INT_1: usize = integers + 32;
export const INT_2: usize = integers + 48;
export const INT_4: usize = integers + 64;
export const NOT_1: usize = integers + 80;
export const TEMPER_7: usize = integers + 96;
export const TEMPER_15: usize = integers + 112;
export const LOW_24: usize = integers + 128;
export const EXPONENT: usize = integers + 144;
export const EXPONENT_13: usize = integers + 160;
export const EXPONENT_126: usize = integers + 176;
export const QUIET: usize = integers + 192;
export const MAGNITUDE: usize = integers + 208;
export const SIGN: usize = integers + 224;
export const TWISTER_MATRIX: usize = integers + 240;
export const HALF_MAGNITUDE: usize = integers + 256;
export const HALF_SIGN: usize = integers + 272;
export const REBIAS: usize = integers + 288;
export const HALF_NORMAL: usize = integers + 304;
export const HALF_SPECIAL: usize = integers + 320;
export const HALF_TOP: usize = integers + 336;
export const HALF_NAN: usize = integers + 352;
export const BIAS: usize = integers + 368;
export const HALF_FIELDS: usize = integers + 384;
export const HALF_MAGNITUDE_8: usize = integers + 400;
export const HALF_NORMAL_8: usize = integers + 416;
export const HALF_SPECIAL_8: usize = integers + 432;
export const HALF_SIGN_8: usize = integers + 448;
export const EXPONENT_13_HALF: usize = integers + 464;
export const EXPONENT_126_HALF: usize = integers + 480;
export const HALF_ROUND: usize = integers + 496;
export const BRAIN_FIELDS: usize = integers + 512;
export const HALF_FINITE: usize = integers + 528;
export const SIGN_E4M3: usize = integers + 544;
export const REBIAS_E4M3: usize = integers + 560;

// The end of the constants and of the kernels' own buffers.
export function buffersEnd(): usize {
  return __heap_base;
}
