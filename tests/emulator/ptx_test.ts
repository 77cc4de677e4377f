import { assert, assertEquals } from "@std/assert";

const cuda = new URL("../../cuda/", import.meta.url);
const sources = [...Deno.readDirSync(cuda)].map(({ name }) => name).filter((name) => /\.cuh?$/.test(name));

/** Returns the names and parameter types of the functions that a header declares, without the emulator's own last parameter. */
function declarations(path: URL): string[] {
  const text = Deno.readTextFileSync(path).replace(/\/\/.*$/gm, "").replace(/\s+/g, " ");
  const found = text.matchAll(
    /(?:__forceinline__|inline|> ) ?(?:unsigned char\*|uint32_t|uint4|void) (\w+)(?:<\w+>)?\(([^{]*?)\) ?[{;]/g,
  );
  const functions = [...found].map(([, name, parameters]) => {
    const types = splitParameters(parameters!).filter((parameter) => !parameter.startsWith("Where ")).map((parameter) =>
      parameter.replace(/\w+(?=$|\))/, "").replace(/\(&\w+\)/, "(&)").replace(/ +$/, "")
    );
    return `${name}(${types.join(", ")})`;
  });
  return [...new Set(functions)].sort();
}

function splitParameters(text: string): string[] {
  return text.split(/,\s*(?![^(]*\))/).map((parameter) => parameter.trim()).filter((parameter) => parameter !== "");
}

/** The headers, and how many functions each declares at least. */
const functionCounts = { "ptx.cuh": 10, "ptx_packed.cuh": 8, "ptx_announce.cuh": 2, "ptx_wgmma.cuh": 4 };
const headers = Object.keys(functionCounts);

/** Functions of the emulator's headers that the real ones do not need. */
const helpers = ["load_shared(", "map_pairs("];

for (const [header, count] of Object.entries(functionCounts)) {
  Deno.test(`the emulated ${header} declares the functions of the real one`, () => {
    const real = declarations(new URL(header, cuda));
    assert(real.length >= count, real.join("\n"));
    const emulated = declarations(new URL(`./include/${header}`, import.meta.url));
    assertEquals(emulated.filter((name) => !helpers.some((helper) => name.startsWith(helper))), real);
  });
}

Deno.test("only the ptx headers contain inline PTX, and they are included such that the emulator can replace them", () => {
  for (const name of sources) {
    const text = Deno.readTextFileSync(new URL(name, cuda));
    if (!headers.includes(name)) assertEquals(/\basm\b/.test(text), false, name);
    for (const header of headers) assertEquals(text.includes(`#include "${header}"`), false, name);
  }
});
