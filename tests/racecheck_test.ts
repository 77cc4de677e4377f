// Only hazards that one lane's arrival explains are explained.
import { assertEquals } from "@std/assert";
import { readHazards } from "./gpu/racecheck.ts";

interface Hazard {
  readonly kind?: string;
  readonly writer?: number;
  readonly reader?: number;
  readonly kernels?: readonly [writing: string, reading: string];
}

/** A report in racecheck's words. */
function report(...hazards: Hazard[]): string {
  const texts = hazards.map(({ kind = "WAR", writer = 384, reader = 33, kernels = ["fp8_192_f16", "fp8_192_f16"] }) => [
    `========= Error: Potential ${kind} hazard detected at __shared__ 0x6400 in block (3,0,0) :`,
    `=========     Read Thread (${reader},0,0) at ${kernels[1]}+0xf910`,
    `=========     Write Thread (${writer},0,0) at ${kernels[0]}+0x4fb00`,
    "=========     Current Value : 0, Incoming Value : 17",
    "=========",
  ]);
  const summary =
    `========= RACECHECK SUMMARY: ${hazards.length} hazards displayed (${hazards.length} errors, 0 warnings)`;
  return ["========= COMPUTE-SANITIZER", ...texts.flat(), summary, ""].join("\n");
}

Deno.test("racecheck: hazards between a copy and a lane that does not arrive are explained, and no others", () => {
  assertEquals(readHazards(report()), { count: 0, explained: 0 });
  assertEquals(readHazards(report({}, { reader: 383 })), { count: 2, explained: 2 });
  const few = ["mxfp4_16_bf16", "mxfp4_16_bf16"] as const;
  assertEquals(readHazards(report({ kernels: few, reader: 127, writer: 128 })), { count: 1, explained: 1 });
  const others: readonly Hazard[] = [
    { reader: 32 }, // the lane that arrives
    { reader: 385 }, // does not multiply
    { writer: 1 },
    { kind: "RAW" },
    { kernels: few, reader: 129, writer: 160 },
    { kernels: ["fp8_192_f16", "fp8_64_f16"] },
    { kernels: ["down_192", "down_192"] },
  ];
  for (const other of others) assertEquals(readHazards(report({}, other)), { count: 2, explained: 1 });
  assertEquals(readHazards("killed"), { count: undefined, explained: 0 });
});
