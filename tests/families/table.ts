// The table of families: what is found by config.json alone, and right against float64. Writes table.md as a program.
import { families } from "../../src/models/families/mod.ts";
import { type Encodings, type Published, sizes } from "./checkpoints.ts";
import { floatsOf, fp8Of, mlxOf, mxfp4Of, packedOf } from "./encodings.ts";
import { errorOf } from "./error_of.ts";
import { published } from "./published.ts";

/** The file with the table. */
export const tablePath = new URL("table.md", import.meta.url);

/** The bound in f32, with weights of any format. */
const f32Bound = 2e-6;

/**
 * The bound in bf16, against float64 with the same numbers rounded. A sum in f32 may round to the neighbor of the right number:
 * one step of 2^-8 in one of the output's elements.
 */
const bf16Bound = 2 ** -8 / Math.sqrt(sizes.tokens * sizes.hidden);

interface Quantized {
  readonly format: string;
  readonly encodings: Encodings;
  readonly published: Published;
  readonly quantization?: Readonly<Record<string, unknown>>;
}

const block = [16, 16] as const;

/** A family's checkpoint in the packed formats that fit its tensors. */
function quantized(published: Published): readonly Quantized[] {
  const { packing } = published;
  if (packing === "dbrx") return [];
  if (packing === "gpt-oss") {
    const encodings = { experts: mxfp4Of("gpt-oss") };
    return [{ format: "mxfp4", encodings, published: { ...published, packing: "gpt-oss-mxfp4" } }];
  }
  if (packing.startsWith("mlx") || packing === "split") {
    const quantization = { quantization: { group_size: 32, bits: 4 } };
    return [{ format: "mlx", encodings: { experts: mlxOf(32) }, published, quantization }];
  }
  const scales = { name: ".weight_scale_inv", block, dtype: "F32" } as const;
  const fp8 = {
    ...{ format: "fp8", encodings: { experts: fp8Of(scales) }, published },
    quantization: { quantization_config: { weight_block_size: block } },
  };
  const isEach = packing === "gate_proj" || packing === "w1" || packing === "linear" || packing === "wi" ||
    packing === "fc";
  return isEach ? [fp8, { format: "int4", encodings: { experts: packedOf(32, 4, true) }, published }] : [fp8];
}

/** A row of the table. */
export interface Row {
  readonly f32: boolean;
  readonly bf16: boolean;
  /** The packed formats that are right, and those that are wrong. */
  readonly packed: { readonly right: readonly string[]; readonly wrong: readonly string[] };
}

/** Opens and computes a family's checkpoints. Throws if they are not found by config.json alone. */
export async function rowOf(family: Published): Promise<Row> {
  const dense = { experts: floatsOf("BF16") };
  const f32 = [floatsOf("F32"), floatsOf("BF16")].map((experts) =>
    errorOf({ published: family, encodings: { experts } })
  );
  const right: string[] = [], wrong: string[] = [];
  for (const { format, ...run } of quantized(family)) {
    (await errorOf(run) < f32Bound ? right : wrong).push(format);
  }
  return {
    f32: (await Promise.all(f32)).every((error) => error < f32Bound),
    bf16: await errorOf({ published: family, encodings: dense, dtype: "bf16" }) < bf16Bound,
    packed: { right, wrong },
  };
}

/** Writes the table. */
export function tableText(rows: ReadonlyMap<Published, Row>): string {
  const say = (isRight: boolean) => isRight ? "right" : "WRONG";
  const refused = families.flatMap(({ types, refusal }) =>
    refusal ? [`| ${types.join(", ")} | refused: ${refusal} | | | |`] : []
  );
  return [
    "| family | found by config.json alone | f32 | bf16 | packed |",
    "| --- | --- | --- | --- | --- |",
    ...Array.from(rows, ([{ name }, { f32, bf16, packed: { right, wrong } }]) => {
      const packed = [...right, ...wrong.map((format) => `${format} WRONG`)].join(", ") || "not published";
      return `| ${name} | yes | ${say(f32)} | ${say(bf16)} | ${packed} |`;
    }),
    ...refused,
    "",
  ].join("\n");
}

if (import.meta.main) {
  const rows = new Map<Published, Row>();
  for (const family of published) rows.set(family, await rowOf(family));
  await Deno.writeTextFile(tablePath, tableText(rows));
}
