// Malformed headers without end: the reader refuses them with its own error or finds a file in order, and takes no memory
// that the file does not have.
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import fc from "../fast_check.ts";
import { encodeSafetensors, Safetensors, SafetensorsError, tensor } from "../../mod.ts";
import { dtypeBits } from "../../src/safetensors/header.ts";
import { fileOf } from "./files.ts";

const runs = 10_000;
const seed = Number(Deno.env.get("FUZZ_SEED") ?? Date.now() % 2 ** 31);

/** Opens bytes and reads every tensor; refused ones must be refused with the module's error. */
async function outcome(bytes: Uint8Array): Promise<"refused" | "read"> {
  const largest = new LargestAllocation();
  try {
    using file = await Safetensors.open(bytes);
    let total = 0;
    for (const { name, byteLength } of file.tensors.values()) {
      await file.readBytes(name, new Uint8Array(byteLength));
      total += byteLength;
    }
    const headerBytes = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
    assertEquals(total, bytes.length - 8 - headerBytes, "the tensors fill the data");
    return "read";
  } catch (error) {
    assert(error instanceof SafetensorsError, `${error}`);
    return "refused";
  } finally {
    assertLessOrEqual(largest.stop(), bytes.length);
  }
}

/** Watches the sizes of byte arrays and shared memory that are made. */
class LargestAllocation {
  readonly #originals = { Uint8Array, SharedArrayBuffer, ArrayBuffer };
  #bytes = 0;

  constructor() {
    for (const [name, original] of Object.entries<new (size: number) => object>(this.#originals)) {
      const construct = (target: typeof original, args: unknown[], newTarget: typeof original) => {
        if (typeof args[0] === "number") this.#bytes = Math.max(this.#bytes, args[0]);
        return Reflect.construct(target, args, newTarget);
      };
      Object.assign(globalThis, { [name]: new Proxy(original, { construct }) });
    }
  }

  stop(): number {
    Object.assign(globalThis, this.#originals);
    return this.#bytes;
  }
}

const number = fc.oneof(
  fc.nat(12),
  fc.constantFrom(
    "-1",
    "1.5",
    "1e2",
    "01",
    "9007199254740991",
    "9007199254740993",
    "1e999",
    "NaN",
    "null",
    '"1"',
    "[]",
  ),
);
const dtype = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...Object.keys(dtypeBits)) },
  fc.constantFrom("F128", "f32", "", "toString", "__proto__"),
);
const text = fc.oneof(fc.string({ unit: "binary", maxLength: 5 }), fc.constantFrom("a", "b", "__metadata__", "dtype"));
const list = fc.array(number, { maxLength: 4 }).map((items) => `[${items.join(",")}]`);
const anything = fc.oneof(
  fc.json({ maxDepth: 3 }),
  list,
  fc.constant("[".repeat(5000)),
  fc.constant('{"a":'.repeat(5000)),
);
const tensorMember = fc.record({
  name: text,
  dtype: dtype.map((name) => JSON.stringify(name)),
  shape: fc.oneof({ weight: 5, arbitrary: list }, anything),
  offsets: fc.oneof({ weight: 5, arbitrary: fc.tuple(number, number).map((pair) => `[${pair.join(",")}]`) }, anything),
}).map(({ name, dtype, shape, offsets }) =>
  `${JSON.stringify(name)}:{"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}}`
);
const otherMember = fc.tuple(text, anything).map(([name, value]) => `${JSON.stringify(name)}:${value}`);
const nearlyHeader = fc.array(fc.oneof({ weight: 4, arbitrary: tensorMember }, otherMember), { maxLength: 4 })
  .map((members) => `{${members.join(",")}}`);
const tokens = fc.array(
  fc.constantFrom(
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    '"',
    "\\",
    '"a"',
    '"dtype"',
    '"F32"',
    '"shape"',
    "0",
    "1",
    " ",
    "\u0000",
    "é",
  ),
  { maxLength: 60 },
).map((parts) => `{${parts.join("")}`);
const header = fc.oneof(nearlyHeader, tokens, fc.json(), fc.uint8Array({ maxLength: 80 }));
const headerLength = fc.oneof(
  { weight: 6, arbitrary: fc.constant(undefined) },
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.bigInt({ min: 0n, max: 300n }),
);

Deno.test(`${runs} malformed headers are refused or harmless (FUZZ_SEED=${seed})`, async () => {
  const seen = { refused: 0, read: 0 };
  const file = fc.tuple(header, fc.nat(40), headerLength);
  await fc.assert(
    fc.asyncProperty(file, async ([header, dataBytes, length]) => {
      seen[await outcome(fileOf(header, dataBytes, length))] += 1;
    }),
    { numRuns: runs, seed },
  );
  assert(seen.refused > runs / 2 && seen.read > 0, JSON.stringify(seen));
});

const valid = encodeSafetensors({
  weight: tensor(new Float32Array([1, 2, 3, 4, 5, 6]), [2, 3]),
  bias: tensor(new Float16Array([1, 2, 3]), [3]),
  none: tensor(new Int32Array(0), [0, 2]),
}, { format: "pt" });

Deno.test("A valid file is refused at whatever length it is cut, and with bytes added", async () => {
  assertEquals(await outcome(valid), "read");
  for (let length = 0; length < valid.length; length++) assertEquals(await outcome(valid.slice(0, length)), "refused");
  assertEquals(await outcome(new Uint8Array([...valid, 0])), "refused");
});

Deno.test("A valid file with any one byte of its header changed is refused or in order", async () => {
  const headerEnd = 8 + Number(new DataView(valid.buffer).getBigUint64(0, true));
  const seen = { refused: 0, read: 0 };
  for (let at = 0; at < headerEnd; at++) {
    for (const change of [1, 2, 4, 8, 16, 32, 64, 128, 255]) {
      const changed = valid.slice();
      changed[at]! ^= change;
      seen[await outcome(changed)] += 1;
    }
  }
  assert(seen.refused > seen.read && seen.read > 0, JSON.stringify(seen));
});
