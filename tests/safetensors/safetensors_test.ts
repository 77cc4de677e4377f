import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { encodeSafetensors, Safetensors, SafetensorsError, tensor, writeSafetensors } from "../../mod.ts";
import { fileOf, member } from "./files.ts";

const f32 = (name: string, start: number, end: number) => member(name, "F32", [(end - start) / 4], start, end);

const malformed: [string, Uint8Array, string][] = [
  ["an empty file", new Uint8Array(0), "expected a safetensors file, got an empty file"],
  ["seven bytes", new Uint8Array(7), "the file must begin with 8 bytes of header length, got a file of 7 bytes"],
  ["no header", new Uint8Array(8), "the header must have from 2 to 0 bytes in a file of 8, got a length of 0"],
  [
    "a header beyond the file",
    fileOf("{}", 0, 3n),
    "the header must have from 2 to 2 bytes in a file of 10, got a length of 3",
  ],
  ["a header of 2^64 - 1 bytes", fileOf("{}", 0, 2n ** 64n - 1n), "got a length of 18446744073709551615"],
  ["another beginning", fileOf(' {"a":1}'), 'the header must begin with "{", got byte 32'],
  ["a byte order mark", fileOf("\ufeff{}"), 'the header must begin with "{", got byte 239'],
  ["bad UTF-8", fileOf(new Uint8Array([0x7b, 0x22, 0xc3, 0x28, 0x22, 0x7d])), "the header must be valid UTF-8"],
  ["half an object", fileOf('{"a"'), 'character 4 must begin ":", got the end'],
  ["text behind the object", fileOf("{} x"), 'character 3 must begin the end, got "x"'],
  ["a trailing comma", fileOf('{"__metadata__":{},}'), 'character 19 must begin a string, got "}"'],
  ["a lone surrogate", fileOf('{"\\ud800":{}}'), 'character 1 must begin a string, got "\\""'],
  ["an unknown escape", fileOf('{"\\x":{}}'), "character 1 must begin a string"],
  ["a control character", fileOf('{"a\u0001":{}}'), "character 1 must begin a string"],
  ["metadata of numbers", fileOf('{"__metadata__":{"a":1}}'), 'character 21 must begin a string, got "1"'],
  ["a tensor twice", fileOf(`{${f32("a", 0, 4)},${f32("a", 4, 8)}}`, 8), "occurs twice"],
  [
    "a tensor twice, once escaped",
    fileOf(`{${f32("a", 0, 4)},${f32("a", 4, 8)}}`.replace('"a"', '"\\u0061"'), 8),
    "twice",
  ],
  ["a dtype twice", fileOf('{"a":{"dtype":"F32","dtype":"F16"}}'), "the key at character 20 occurs twice"],
  ["metadata twice", fileOf('{"__metadata__":{},"__metadata__":{}}'), "the key at character 19 occurs twice"],
  ["a tensor that is not an object", fileOf('{"a":[]}'), 'character 5 must begin "{", got "["'],
  [
    "a tensor without a dtype",
    fileOf('{"a":{"shape":[],"data_offsets":[0,4]}}', 4),
    'tensor "a" must have dtype, shape',
  ],
  ["a tensor without offsets", fileOf('{"a":{"shape":[],"dtype":"F32"}}', 4), "got no data_offsets"],
  [
    "another member",
    fileOf('{"a":{"kind":1}}'),
    'tensor "a" must have dtype, shape and data_offsets only, got "kind"',
  ],
  ["an unknown dtype", fileOf(`{${member("a", "F128", [1], 0, 16)}}`, 16), 'a dtype of the format, got "F128"'],
  ["a dtype of every object", fileOf(`{${member("a", "toString", [1], 0, 16)}}`, 16), "a dtype of the format"],
  ["a negative size", fileOf(`{${member("a", "F32", [-1], 0, 4)}}`, 4), 'an integer from 0 to 2^53 - 1, got "-"'],
  ["a fractional size", fileOf(`{${member("a", "F32", [1.5], 0, 4)}}`, 4), 'must begin "]", got "."'],
  ["a size in E notation", fileOf('{"a":{"dtype":"U8","shape":[1e1],"data_offsets":[0,10]}}', 10), 'got "e"'],
  ["a size with a leading zero", fileOf('{"a":{"dtype":"U8","shape":[04],"data_offsets":[0,4]}}', 4), 'got "4"'],
  ["a size past 2^53", fileOf('{"a":{"dtype":"U8","shape":[9007199254740993],"data_offsets":[0,4]}}', 4), "2^53 - 1"],
  [
    "sizes whose product overflows",
    fileOf(`{${member("a", "F32", [2 ** 40, 2 ** 40], 0, 4)}}`, 4),
    'tensor "a", F32 [1099511627776, 1099511627776], must have a countable number of bytes, got data_offsets that span 4',
  ],
  [
    "an overflow that a zero would hide",
    fileOf(`{${member("a", "F32", [2 ** 40, 2 ** 40, 0], 0, 0)}}`),
    "must have a countable number of bytes",
  ],
  [
    "too many dimensions",
    fileOf(`{${member("a", "U8", Array(65).fill(1), 0, 1)}}`, 1),
    "a list of at most 64 integers",
  ],
  ["an array in the shape", fileOf(`{"a":{"shape":${"[".repeat(1000)}`), 'got "["'],
  [
    "one offset",
    fileOf('{"a":{"dtype":"U8","shape":[1],"data_offsets":[1]}}', 1),
    "data_offsets [begin, end], got [1]",
  ],
  ["three offsets", fileOf('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}', 1), "at most 2 integers"],
  ["offsets in reverse", fileOf(`{${member("a", "U8", [4], 8, 4)}}`, 8), "data_offsets [begin, end], got [8, 4]"],
  [
    "a size that differs from the shape's",
    fileOf(`{${member("a", "F16", [3], 0, 8)}}`, 8),
    'tensor "a", F16 [3], must have 6 bytes, got data_offsets that span 8',
  ],
  ["half a byte", fileOf(`{${member("a", "F4", [3], 0, 2)}}`, 2), "must have a countable number of bytes"],
  [
    "an overlap",
    fileOf(`{${f32("a", 0, 8)},${f32("b", 4, 12)}}`, 12),
    'tensor "b" at byte 4 overlaps tensor "a", which ends at 8',
  ],
  ["the same place twice", fileOf(`{${f32("a", 0, 8)},${f32("b", 0, 8)}}`, 8), 'overlaps tensor "a"'],
  ["a hole", fileOf(`{${f32("a", 0, 4)},${f32("b", 8, 12)}}`, 12), 'tensor "b" at byte 8 leaves a hole from byte 4 on'],
  ["a hole at the beginning", fileOf(`{${f32("a", 4, 8)}}`, 8), 'tensor "a" at byte 4 leaves a hole from byte 0 on'],
  [
    "a truncated tensor",
    fileOf(`{${f32("a", 0, 8)}}`, 7),
    'tensor "a" is truncated: it ends at byte 8, but the file has 7 bytes of data',
  ],
  ["bytes left over", fileOf(`{${f32("a", 0, 8)}}`, 9), "the file has 9 bytes of data, but its tensors end at byte 8"],
  [
    "a name that would move the cursor",
    fileOf(`{${member("\u001b[2J\u202e", "F32", [1], 0, 8)}}`, 8),
    'tensor "\\u001b[2J\\u202e", F32',
  ],
];

for (const [what, bytes, message] of malformed) {
  Deno.test(`Safetensors.open() rejects ${what}`, async () => {
    await assertRejects(() => Safetensors.open(bytes), SafetensorsError, message);
  });
}

Deno.test("Safetensors.open() accepts unusual but valid headers", async () => {
  using empty = await Safetensors.open(fileOf("{}"));
  assertEquals([...empty.tensors], []);
  const text =
    `{ "b" : {"shape":[ ] ,"data_offsets":[4,8],"dtype":"F32"}, "":{"dtype":"F4","shape":[2,4],"data_offsets":[0,4]},` +
    `\t"z":{"dtype":"F64","shape":[0,7],"data_offsets":[4,4]}, "y": {"dtype": "U8", "shape": [1, 3], "data_offsets": [8, 11]},` +
    `"__metadata__":{"format":"pt","":"\\u00e9"}}  \n`;
  using file = await Safetensors.open(fileOf(text, 11));
  assertEquals([...file.tensors.keys()], ["b", "", "z", "y"]);
  assertEquals(file.describe("y"), { name: "y", dtype: "U8", shape: [1, 3], offset: 8, byteLength: 3 });
  assertEquals(file.describe("b"), { name: "b", dtype: "F32", shape: [], offset: 4, byteLength: 4 });
  assertEquals(Object.fromEntries(file.metadata), { "format": "pt", "": "é" });
  const bytes = new Uint8Array(2);
  await file.readBytes("b", bytes, 2);
  assertEquals([...bytes], [(6 * 37 + 11) % 256, (7 * 37 + 11) % 256]);
});

Deno.test("Safetensors.read() rejects a missing tensor and an unsupported dtype", async () => {
  using file = await Safetensors.open(fileOf(`{${member("a", "I64", [2], 0, 16)}}`, 16));
  await assertRejects(() => file.read("b"), SafetensorsError, 'the tensor "b" does not exist');
  await assertRejects(
    () => file.read("a"),
    SafetensorsError,
    'tensor "a" must be of dtype F16, BF16, F32, I32, U8, got I64 [2]',
  );
  for (const [start, length] of [[0, 17], [16, 1], [-1, 1], [0.5, 1]] as const) {
    await assertRejects(() => file.readBytes("a", new Uint8Array(length), start), RangeError, "it has 16");
  }
});

const tensors = {
  "x": tensor(new Float16Array([1, -2, 65504]), [3, 1]),
  "10": tensor(new Float32Array([0.1, NaN, -0]), [3]),
  "9": tensor(new Uint16Array([0x3f80, 0x7fc0, 1]), [1, 3], "bf16"),
  "none": tensor(new Int32Array(0), [4, 0]),
  "é\n": tensor(new Int32Array([-1, 2 ** 31 - 1]), [2]),
};
const metadata = { format: "pt", "ä": "\u0000" };

for (const where of ["memory", "a file"]) {
  Deno.test(`a file in ${where} is read as it was written, with aligned tensors`, async () => {
    const directory = await Deno.makeTempDir();
    const path = `${directory}/x.safetensors`;
    await writeSafetensors(path, tensors, metadata);
    using file = await Safetensors.open(where === "memory" ? encodeSafetensors(tensors, metadata) : path);
    assertEquals(Object.fromEntries(file.metadata), metadata);
    assertEquals([...file.tensors.keys()], ["10", "none", "é\n", "9", "x"]);
    for (const [name, expected] of Object.entries(tensors)) {
      const read = await file.read(name);
      assertEquals({ ...read, data: new Uint8Array(read.data.buffer) }, {
        ...expected,
        data: new Uint8Array(expected.data.buffer),
      });
      assertEquals(read.data.buffer instanceof SharedArrayBuffer, true);
    }
    assertEquals(Array.from(Deno.readDirSync(directory), ({ name }) => name), ["x.safetensors"]);
    await Deno.remove(directory, { recursive: true });
  });
}

Deno.test("encodeSafetensors() gives the same bytes for any order of the tensors", () => {
  const reversed = (object: object) => Object.fromEntries(Object.entries(object).reverse());
  const bytes = encodeSafetensors(tensors, metadata);
  assertEquals(encodeSafetensors(reversed(tensors), reversed(metadata)), bytes);
  assertEquals(Number(new DataView(bytes.buffer).getBigUint64(0, true)) % 8, 0);
});

Deno.test("writeSafetensors() leaves the old file in place if it fails", async () => {
  const directory = await Deno.makeTempDir();
  await assertRejects(() => writeSafetensors(`${directory}/none/x`, tensors), Deno.errors.NotFound);
  await Deno.mkdir(`${directory}/taken/full`, { recursive: true });
  await assertRejects(() => writeSafetensors(`${directory}/taken`, tensors), Error); // a file does not replace a directory
  await assertRejects(
    () => writeSafetensors(`${directory}/x`, { "\ud800": tensors.x }),
    SafetensorsError,
    "well-formed",
  );
  await assertRejects(() => writeSafetensors(`${directory}/x`, { __metadata__: tensors.x }), SafetensorsError);
  await assertRejects(() => writeSafetensors(`${directory}/x`, { x: { ...tensors.x, shape: [2] } }), RangeError);
  assertEquals(Array.from(Deno.readDirSync(directory), ({ name }) => name), ["taken"]);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("writeSafetensors() writes to the target of symbolic links, and keeps the mode of a file", async () => {
  const directory = await Deno.makeTempDir();
  await Deno.mkdir(`${directory}/data`);
  await Deno.writeTextFile(`${directory}/data/old`, "old", { mode: 0o640 });
  for (const name of ["old", "new"]) {
    await Deno.symlink(`data/${name}`, `${directory}/${name}`);
    await writeSafetensors(`${directory}/${name}`, tensors);
    assertEquals((await Deno.lstat(`${directory}/${name}`)).isSymlink, true);
    using file = await Safetensors.open(`${directory}/data/${name}`);
    assertEquals([...file.tensors.keys()].sort(), Object.keys(tensors).sort());
  }
  assertEquals(((await Deno.stat(`${directory}/old`)).mode ?? 0) & 0o777, 0o640);
  assertEquals(Array.from(Deno.readDirSync(`${directory}/data`), ({ name }) => name).sort(), ["new", "old"]);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("Safetensors.open() rejects a directory, and read() a file that became shorter", async () => {
  const directory = await Deno.makeTempDir();
  await assertRejects(
    () => Safetensors.open(directory),
    SafetensorsError,
    `${directory}: expected a file, got a directory`,
  );
  await assertRejects(() => Safetensors.open(`${directory}/none`), Deno.errors.NotFound);
  const path = `${directory}/x`;
  await writeSafetensors(path, tensors);
  using file = await Safetensors.open(path);
  await Deno.truncate(path, 100);
  await assertRejects(() => file.read("x"), SafetensorsError, `${path}: the file became shorter while it was open`);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("the tensors of a file can be read at the same time", async () => {
  const path = await Deno.makeTempFile();
  const many = Object.fromEntries(
    Array.from({ length: 50 }, (_, i) => [`t${i}`, tensor(new Int32Array(1000).fill(i))]),
  );
  await writeSafetensors(path, many);
  using file = await Safetensors.open(path);
  const read = await Promise.all(Object.keys(many).map((name) => file.read(name)));
  assertEquals(
    read.map(({ data }) => data.every((value) => value === data[0]) && data[0]),
    Array.from({ length: 50 }, (_, i) => i),
  );
  file[Symbol.dispose]();
  await Deno.remove(path);
});

Deno.test("Safetensors.read() rejects memory that was resized or detached after open()", async () => {
  const content = encodeSafetensors({ x: tensors.x });
  const changes = [(buffer: ArrayBuffer) => buffer.resize(20), (buffer: ArrayBuffer) => void buffer.transfer()];
  for (const change of changes) {
    const bytes = new Uint8Array(new ArrayBuffer(content.length, { maxByteLength: content.length }));
    bytes.set(content);
    using file = await Safetensors.open(bytes);
    change(bytes.buffer);
    await assertRejects(() => file.read("x"), SafetensorsError, "the memory was resized or detached");
  }
});

Deno.test("encodeSafetensors() rejects metadata that is not text", () => {
  for (const value of [undefined, 1, null, "\ud800"]) {
    assertThrows(() => encodeSafetensors({}, { a: value as string }), TypeError, "metadata must be well-formed text");
  }
});

Deno.test("writeSafetensors() takes a file URL, and rejects other paths", async () => {
  const directory = await Deno.makeTempDir();
  const url = new URL(`file://${directory}/a%20name.safetensors`);
  await writeSafetensors(url, { x: tensors.x });
  using file = await Safetensors.open(url);
  assertEquals([...file.tensors.keys()], ["x"]);
  assertEquals(Array.from(Deno.readDirSync(directory), ({ name }) => name), ["a name.safetensors"]);
  for (const path of [new URL("https://example.com/x"), 1 as never]) {
    await assertRejects(() => writeSafetensors(path, {}), TypeError, "path must be a path or a file URL");
  }
  await Deno.remove(directory, { recursive: true });
});
