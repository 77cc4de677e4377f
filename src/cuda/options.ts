/** Options of `openCudaBackend`. */
export interface CudaOptions extends KernelOptions {
  /** The image of the kernels for this GPU, if it is loaded already. It takes longer to unpack than all else. */
  readonly image?: Uint8Array<ArrayBuffer> | undefined;
  /** The index of the GPU, from 0. */
  readonly device?: number | undefined;
  /** The path of the driver's library. Defaults to searching the usual places. */
  readonly library?: string | undefined;
  /** Whether to refuse kernels that have not passed `yamoe verify` on a GPU of their architecture. */
  readonly onlyVerified?: boolean | undefined;
}

/** How the kernels run. */
export interface KernelOptions {
  /** The rows of the tiles to compute with. Defaults to the best for each call. */
  readonly tileRows?: number | undefined;
  /** For memory checkers: whether temporary tensors have separate allocations and freed memory is released at once. */
  readonly checkedMemory?: boolean | undefined;
}
