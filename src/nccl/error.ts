/** Thrown when a call of NCCL fails. */
export class NcclError extends Error {
  /** The class's name. */
  override name = "NcclError";
  /** The status, an ncclResult_t. */
  readonly code: number;
  /** The status's name in nccl.h. */
  readonly codeName: string;
  /** The function that returned it. */
  readonly api: string;

  /** Describes a failed call. `detail` is NCCL's own text, which may be empty. */
  constructor(api: string, code: number, detail = "") {
    const codeName = names[code] ?? "unknown status";
    const text = detail || hints[code] || "";
    super(`${api} failed: ${codeName} (${code})${text ? `; ${text}` : ""}`);
    this.api = api;
    this.code = code;
    this.codeName = codeName;
  }
}

const names: readonly string[] = [
  ...["ncclSuccess", "ncclUnhandledCudaError", "ncclSystemError", "ncclInternalError", "ncclInvalidArgument"],
  ...["ncclInvalidUsage", "ncclRemoteError", "ncclInProgress"],
];

const hints: Readonly<Record<number, string>> = {
  1: "a call of CUDA failed in NCCL; NCCL_DEBUG=WARN prints more",
  2: "a call of the operating system failed in NCCL; NCCL_DEBUG=WARN prints more",
  5: "the ranks may have passed different sizes",
  6: "another rank failed, or the network did",
};
