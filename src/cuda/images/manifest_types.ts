// What is recorded about the shipped kernels.

/** The types that a kernel's argument can have, and their sizes in bytes. */
export const argumentBytes = { pointer: 8, int: 4, int64: 8, float: 4, tensorMap: 128 } as const;

/** One field of a kernel's argument struct. */
export interface ArgumentField {
  readonly name: string;
  readonly type: keyof typeof argumentBytes;
  /** Offset in the struct. */
  readonly offset: number;
  /** Size in bytes. */
  readonly size: number;
}

/** One kernel of a cubin. */
export interface KernelRecord {
  readonly name: string;
  /** Registers per thread. */
  readonly registers: number;
  /** Bytes of each thread's stack frame, which is where spilled registers would be. */
  readonly frameBytes: number;
  /** Static shared memory per block, in bytes. */
  readonly sharedBytes: number;
  /** The maximum number of threads per block. */
  readonly maxThreads: number;
  /** Whether the kernel itself waits for the kernel before it (griddepcontrol.wait), so that it may start earlier. */
  readonly waits: boolean;
  /** Offset of the argument struct in the argument buffer. */
  readonly argumentsOffset: number;
  /** Size of the argument struct in bytes. */
  readonly argumentsBytes: number;
  /** The fields of the argument struct. */
  readonly fields: readonly ArgumentField[];
}

/** One image: machine code for one architecture, or PTX. */
export interface Image {
  readonly kind: "cubin" | "ptx";
  /** 10 · major + minor of the target. */
  readonly computeCapability: number;
  readonly bytes: number;
  readonly sha256: string;
  /** Digest of the sources without comments and of everything else that the image depends on. */
  readonly sourceSha256: string;
  readonly kernels: readonly KernelRecord[];
}

/** The manifest of `built/`. */
export interface Manifest {
  /** The version of nvcc. */
  readonly nvcc: string;
  readonly flags: readonly string[];
  readonly images: Readonly<Record<string, Image>>;
}
