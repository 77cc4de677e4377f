import { assert, assertEquals } from "@std/assert";
import { CudaError } from "../../src/cuda/driver/error.ts";
import { statusNames } from "../../src/cuda/driver/status.ts";
import { symbols } from "../../src/cuda/driver/symbols.ts";
import { toolkit } from "../toolkit.ts";

const header = toolkit ? Deno.readTextFileSync(`${toolkit.include}/cuda.h`) : "";
const ignore = !toolkit;

/** The Deno type of a parameter of the C API. */
function denoType(parameter: string): string {
  const type = parameter.replace(/\bconst\b/g, "").trim().replace(/\s*\w+$/, "").trim();
  if (parameter === "void *globalAddress") return "u64"; // in device memory
  if (parameter.includes("*")) return "buffer";
  if (/^(CUdevice|int|CU\w+_attribute|CUstreamCaptureMode|CUmemPool_attribute|CUtensorMap\w+)$/.test(type)) {
    return "i32";
  }
  if (type === "unsigned int" || type === "cuuint32_t") return "u32";
  if (type === "unsigned char") return "u8";
  if (type === "size_t") return "usize";
  if (type === "unsigned long long" || /^CU\w+$/.test(type)) return "u64"; // handles and device pointers
  throw new Error(`no Deno type for "${parameter}"`);
}

/** A function's parameters in cuda.h. If a macro expands to the name, the prototype has the macro's name. */
function prototype(name: string): string[] {
  const macro = header.match(new RegExp(`^\\s*#define (\\w+)\\s+(?:__CUDA_API_\\w+\\()?${name}\\)?$`, "m"))?.[1];
  const plain = macro ?? name.replace(/_v\d$/, "");
  const found = [...header.matchAll(new RegExp(`CUresult CUDAAPI ${plain}\\(([^)]*)\\)`, "g"))].at(0)?.[1];
  assert(found !== undefined, `${name} is not in cuda.h`);
  return found.split(",").map((parameter) => parameter.replace(/\s+/g, " ").trim());
}

for (const [name, { parameters, result }] of Object.entries(symbols)) {
  if (name === "addressOf") continue;
  Deno.test({
    name: `symbols: ${name} matches cuda.h`,
    ignore,
    fn: () => {
      assertEquals([...parameters] as string[], prototype(name).map(denoType));
      assertEquals(result as string, "i32");
    },
  });
}

Deno.test({
  name: "statusNames has every CUresult of cuda.h",
  ignore,
  fn: () => {
    const block = header.slice(header.indexOf("typedef enum cudaError_enum"), header.indexOf("} CUresult;"));
    const entries = [...block.matchAll(/^\s+(CUDA_ERROR_\w+)\s*=\s*(\d+)/gm)].map(([, name, code]) => [code!, name!]);
    assertEquals(statusNames, Object.fromEntries(entries));
  },
});

Deno.test({
  name: "CudaError.poisoned is as in cuda.h",
  ignore,
  fn: () => {
    const block = header.slice(header.indexOf("typedef enum cudaError_enum"), header.indexOf("} CUresult;"));
    const lost = /terminated and relaunched|cannot be used anymore|has been destroyed/;
    for (const [, comment, code] of block.matchAll(/\/\*\*(.*?)\*\/\s*CUDA_ERROR_\w+\s*=\s*(\d+)/gs)) {
      const text = comment!.replace(/\s*\*\s*/g, " ");
      assertEquals(new CudaError("cuInit", Number(code)).poisoned, lost.test(text), `${code}: ${text}`);
    }
  },
});
