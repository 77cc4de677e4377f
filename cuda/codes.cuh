// The numbers by which the host names dtypes, activations and scorings: src/cuda/plan/codes.ts has the same tables.
#pragma once

namespace yamoe {

enum DType { kF32 = 0, kF16 = 1, kBF16 = 2 };

enum ActivationKind { kIdentity = 0, kSwish = 1, kGelu = 2, kGeluTanh = 3, kRelu2 = 4, kRelu = 5 };

enum Scoring { kNone = 0, kSoftmax = 1, kSigmoid = 2, kSqrtSoftplus = 3, kSparseMixer = 4 };

enum NumberFormat { kE2M1 = 0, kSigned = 1, kUnsigned = 2, kE4M3 = 3 };

enum ScaleFormat { kScaleF32 = 0, kScaleF16 = 1, kScaleBF16 = 2, kScaleE8M0 = 3, kScaleE4M3 = 4 };

}  // namespace yamoe
