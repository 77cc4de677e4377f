// Derives the layout of each kernel's argument struct from the CUDA sources.
import { argumentBytes, type ArgumentField } from "../src/cuda/images/manifest_types.ts";

/** The layout of an argument struct. */
export interface ArgumentStruct {
  /** The type as C++ spells it, such as `yamoe::CombineArguments<__half>`. */
  readonly type: string;
  /** The fields with their names in camelCase. */
  readonly fields: readonly ArgumentField[];
  /** The fields as C++ spells them, such as `activation.kind`. */
  readonly paths: readonly string[];
  /** Size in bytes. */
  readonly bytes: number;
}

interface Declaration {
  readonly base: string | undefined;
  readonly members: readonly { readonly type: string; readonly name: string }[];
}

const scalarTypes: Readonly<Record<string, ArgumentField["type"]>> = {
  "int": "int",
  "long long": "int64",
  "float": "float",
  "TensorMap": "tensorMap",
};

const alignments = { pointer: 8, int: 4, int64: 8, float: 4, tensorMap: 64 } as const;

/**
 * Finds the argument structs of kernels. Nested structs are flattened: the field `kind` of a member `activation` becomes
 * `activationKind`.
 *
 * @param sources The kernel sources without comments.
 * @param preprocessed The output of the preprocessor, in which kernels have their final names.
 * @returns The structs by kernel name.
 * @throws {Error} If a kernel's struct or a field's type is unknown.
 */
export function argumentStructs(sources: Iterable<string>, preprocessed: string): Map<string, ArgumentStruct> {
  const declarations = new Map([...sources].flatMap((text) => [...parseStructs(text)]));
  const kernel =
    /extern "C" [^;{}]*?\b(\w+)\s*\(\s*const (?:__attribute__\(\(grid_constant\)\) )?(yamoe::(\w+)(?:<[\w, ]+>)?) \w+\s*\)/g;
  return new Map([...preprocessed.matchAll(kernel)].map(([, name = "", type = "", struct = ""]) => {
    const paths: string[] = [];
    const fields: ArgumentField[] = [];
    let end = 0, alignment = 1;
    for (const { path, type } of flatten(struct, declarations)) {
      const offset = align(end, alignments[type]);
      paths.push(path);
      fields.push({ name: camelCase(path), type, offset, size: argumentBytes[type] });
      end = offset + argumentBytes[type];
      alignment = Math.max(alignment, alignments[type]);
    }
    return [name, { type, fields, paths, bytes: align(end, alignment) }];
  }));
}

/** Source text that does not compile if the compiler lays out the structs in another way. */
export function layoutAssertions(structs: ReadonlyMap<string, ArgumentStruct>): string {
  // nvcc supports offsetof for structs with a base, and warns because the standard does not require it.
  const allowBases = "#pragma nv_diag_suppress 1427\n";
  const byType = new Map([...structs.values()].map((struct) => [struct.type, struct]));
  return allowBases + [...byType.values()].map(({ type, fields, paths, bytes }, i) => {
    const conditions = fields.map(({ offset, size }, f) => {
      const path = paths[f];
      return `__builtin_offsetof(Arguments${i}, ${path}) == ${offset} && sizeof(Arguments${i}::${path}) == ${size}`;
    });
    const asserts = [`sizeof(Arguments${i}) == ${bytes}`, ...conditions]
      .map((condition) => `static_assert(${condition}, "the layout of ${type}");`);
    return [`using Arguments${i} = ${type};`, ...asserts, ""].join("\n");
  }).join("");
}

function* parseStructs(text: string): Iterable<[name: string, declaration: Declaration]> {
  for (const [, name = "", base, body = ""] of text.matchAll(/struct (\w+)(?: : (\w+)(?:<\w+>)?)? \{([^{}()]*)\};/g)) {
    const members = body.split(";").map((member) => member.trim()).filter(Boolean).flatMap((member) => {
      const [, type = "", names = ""] = member.match(/^(.*?[\s*])(\w+(?:, \w+)*)$/s) ?? [];
      return names.split(", ").map((name) => ({ type: type.trim(), name }));
    });
    yield [name, { base, members }];
  }
}

function* flatten(
  struct: string,
  declarations: ReadonlyMap<string, Declaration>,
): Iterable<{ path: string; type: ArgumentField["type"] }> {
  const declaration = declarations.get(struct);
  if (!declaration) throw new Error(`Cannot find the declaration of the argument struct ${struct}`);
  if (declaration.base) yield* flatten(declaration.base, declarations);
  for (const { type, name } of declaration.members) {
    const scalar = type.endsWith("*") ? "pointer" : scalarTypes[type];
    if (scalar) yield { path: name, type: scalar };
    else for (const inner of flatten(type, declarations)) yield { ...inner, path: `${name}.${inner.path}` };
  }
}

function camelCase(path: string): string {
  return path.replace(/[_.](\w)/g, (_, letter: string) => letter.toUpperCase());
}

function align(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}
