// Huge pages for large arrays. Linux gives a new array its memory page by page, as each is first touched; pages of 2 MiB in the
// place of 4 KiB save most of that, and of the misses in the processor's table of pages. Many systems hand them out only
// where they are asked for.

/** Below this, the few pages saved are not worth the call. */
const smallest = 4 * 2 ** 20;

const pageBytes = 4096n;

/** MADV_HUGEPAGE of sys/mman.h. */
const hugePage = 14;

let advise: ((address: bigint, bytes: bigint, advice: number) => number) | undefined;

/**
 * Asks for huge pages under an array that has not been touched yet. It is a wish: nothing happens where FFI is not permitted,
 * on other systems than Linux, and for small arrays.
 */
export function wishHugePages(array: Uint8Array<ArrayBufferLike>): void {
  if (array.length < smallest || Deno.build.os !== "linux") return;
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return; // asking for it would have Deno ask the user
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
    return () => 0; // a C library of another name
  }
}
