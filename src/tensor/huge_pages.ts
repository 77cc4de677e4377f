// Huge pages for large arrays. Linux gives a new array its memory page by page, when each page is first touched. Pages of
// 2 MiB instead of 4 KiB save most of these page faults, and most misses in the processor's page table cache. Many systems
// use huge pages only on request.

/** The smallest array, in bytes, for which the call pays off. */
const smallest = 4 * 2 ** 20;

const pageBytes = 4096n;

/** MADV_HUGEPAGE of sys/mman.h. */
const hugePage = 14;

let advise: ((address: bigint, bytes: bigint, advice: number) => number) | undefined;

/**
 * Asks for huge pages under an array that has not been touched yet. Does nothing for small arrays, on systems other than Linux,
 * or if FFI is not permitted.
 */
export function adviseHugePages(array: Uint8Array<ArrayBufferLike>): void {
  if (array.length < smallest || Deno.build.os !== "linux") return;
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return; // without this check, Deno would ask the user
  advise ??= openAdvise();
  const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(array as Uint8Array<ArrayBuffer>));
  const start = BigInt(address) / pageBytes * pageBytes;
  advise(start, BigInt(address) - start + BigInt(array.length), hugePage);
}

function openAdvise(): NonNullable<typeof advise> {
  try {
    return Deno.dlopen("libc.so.6", {
      // int madvise(void *address, size_t length, int advice)
      madvise: { parameters: ["usize", "usize", "i32"], result: "i32" },
    }).symbols.madvise;
  } catch {
    return () => 0; // the C library has another name
  }
}
