// What is recorded of the shipped kernels.

/** What a cubin says of one of its kernels. */
export interface KernelRecord {
  readonly name: string;
  /** Registers a thread. */
  readonly registers: number;
  /** Bytes of a thread's stack, where spilled registers would go. */
  readonly frameBytes: number;
  /** Static shared memory a block. */
  readonly sharedBytes: number;
  /** The most threads a block may have. */
  readonly maxThreads: number;
  /** Where each parameter lies in the argument buffer. */
  readonly parameters: readonly { readonly offset: number; readonly size: number }[];
}

/** One image: machine code for one architecture, or PTX. */
export interface Image {
  readonly kind: "cubin" | "ptx";
  /** 10 · major + minor of what it was built for. */
  readonly computeCapability: number;
  readonly bytes: number;
  readonly sha256: string;
  readonly kernels: readonly KernelRecord[];
}

/** The manifest of `cubins/`. */
export interface Manifest {
  /** Of everything the kernels are built from. */
  readonly sourceSha256: string;
  readonly nvcc: string;
  readonly flags: readonly string[];
  readonly images: Readonly<Record<string, Image>>;
}
