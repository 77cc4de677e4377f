// A BLAS through FFI. Each worker opens the library and multiplies in its own memory. The library uses one thread for each call,
// because the workers already use all cores.

/**
 * Computes C = A B in f32, or C = A Bᵀ, or adds the product to C. A is [m, k], B is [k, n] or [n, k], and C is [m, n]. Each
 * stride is the distance between two rows, in elements.
 */
export type Sgemm = (
  transposeB: boolean,
  m: number,
  n: number,
  k: number,
  a: Float32Array<ArrayBuffer>,
  aStride: number,
  b: Float32Array<ArrayBuffer>,
  bStride: number,
  c: Float32Array<ArrayBuffer>,
  cStride: number,
  add: boolean,
) => void;

/** An open library. */
export interface Blas {
  readonly sgemm: Sgemm;
  /** The name and the version, as far as the library reports them. */
  readonly name: string;
}

/**
 * Opens a library whose interface has 32-bit integers, and makes it use one thread for each call. The function closes over
 * nothing, so a worker can run its source.
 *
 * @throws {Deno.errors.NotCapable} If the permission is missing.
 * @throws {Error} If the library does not exist or has no `cblas_sgemm`.
 */
export function openBlas(path: string): Blas {
  const { symbols } = Deno.dlopen(path, {
    // void cblas_sgemm(layout, transA, transB, int m, n, k, float alpha, a, int lda, b, int ldb, float beta, c, int ldc)
    cblas_sgemm: {
      // deno-fmt-ignore
      parameters: ["i32", "i32", "i32", "i32", "i32", "i32", "f32", "buffer", "i32", "buffer", "i32", "f32", "buffer", "i32"],
      result: "void",
    },
    // char *openblas_get_config(void)
    openblas_get_config: { parameters: [], result: "usize", optional: true },
    // void openblas_set_num_threads(int)
    openblas_set_num_threads: { parameters: ["i32"], result: "void", optional: true },
    // const char *bli_info_get_version_str(void)
    bli_info_get_version_str: { parameters: [], result: "usize", optional: true },
    // void bli_thread_set_num_threads(dim_t), of BLIS
    bli_thread_set_num_threads: { parameters: ["isize"], result: "void", optional: true },
    // void MKL_Get_Version_String(char *, int)
    MKL_Get_Version_String: { parameters: ["buffer", "i32"], result: "void", optional: true },
    // int MKL_Set_Num_Threads_Local(int)
    MKL_Set_Num_Threads_Local: { parameters: ["i32"], result: "i32", optional: true },
    // int BLASSetThreading(BLAS_THREADING), of Accelerate since macOS 15
    BLASSetThreading: { parameters: ["i32"], result: "i32", optional: true },
    // char *strncpy(char *, const char *, size_t), of the C library, which the BLAS depends on. It can read a pointer with
    // the permission for one path; Deno's own functions need the permission for all paths
    strncpy: { parameters: ["buffer", "usize", "usize"], result: "usize", optional: true },
  });

  symbols.openblas_set_num_threads?.(1);
  symbols.bli_thread_set_num_threads?.(1n);
  symbols.MKL_Set_Num_Threads_Local?.(1);
  symbols.BLASSetThreading?.(1); // BLAS_THREADING_SINGLE_THREADED

  const text = new Uint8Array(256);
  const decode = () => new TextDecoder().decode(text.subarray(0, text.indexOf(0)));
  const read = (address: bigint) => {
    symbols.strncpy?.(text, address, 255n);
    return decode();
  };
  const describe = () => {
    if (symbols.openblas_get_config) {
      const [, version = ""] = /^OpenBLAS (\S+)/.exec(read(symbols.openblas_get_config())) ?? [];
      return `OpenBLAS ${version}`;
    }
    if (symbols.bli_info_get_version_str) return `BLIS ${read(symbols.bli_info_get_version_str())}`;
    if (symbols.MKL_Get_Version_String) {
      symbols.MKL_Get_Version_String(text, 255);
      return `MKL ${/\d[\d.]*/.exec(decode()) ?? ""}`;
    }
    return path.includes("Accelerate") ? "Accelerate" : path;
  };

  const rowMajor = 101, asIs = 111, transposed = 112;
  return {
    name: describe().trimEnd(),
    sgemm(transposeB, m, n, k, a, aStride, b, bStride, c, cStride, add) {
      const order = transposeB ? transposed : asIs;
      symbols.cblas_sgemm(rowMajor, asIs, order, m, n, k, 1, a, aStride, b, bStride, add ? 1 : 0, c, cStride);
    },
  };
}
