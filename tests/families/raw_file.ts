import type { Raw } from "./encodings.ts";

/** Writes a safetensors file. */
export async function writeRaw(path: string, tensors: Readonly<Record<string, Raw>>): Promise<void> {
  let end = 0;
  const header = Object.fromEntries(
    Object.entries(tensors).map(([name, { dtype, shape, bytes }]) => [
      name,
      { dtype, shape, data_offsets: [end, end += bytes.length] },
    ]),
  );
  const text = new TextEncoder().encode(JSON.stringify(header));
  const parts = [
    new Uint8Array(new BigUint64Array([BigInt(text.length)]).buffer),
    text,
    ...Object.values(tensors).map(({ bytes }) => bytes),
  ];
  await Deno.writeFile(path, await new Blob(parts as BlobPart[]).bytes());
}
