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

Deno.test("the emulated ptx.cuh declares the functions of the real one", () => {
  const real = declarations(new URL("ptx.cuh", cuda));
  assert(real.length >= 10, real.join("\n"));
  assertEquals(declarations(new URL("./include/ptx.cuh", import.meta.url)), real);
});

Deno.test("only ptx.cuh contains inline PTX, and it is included such that the emulator can replace it", () => {
  for (const name of sources) {
    const text = Deno.readTextFileSync(new URL(name, cuda));
    if (name !== "ptx.cuh") assertEquals(/\basm\b/.test(text), false, name);
    assertEquals(/#include "ptx\.cuh"/.test(text), false, name);
  }
});
