// Runs a command with an emulated GPU:
//
//   deno run -A tests/emulator/run.ts ARCH COMMAND...
//
// ARCH is 75, 80, 90 or another architecture that driver_device.cpp lists.
import { buildProduct } from "../cuda/emulated.ts";

if (import.meta.main) {
  const [arch, program, ...args] = Deno.args;
  if (program === undefined || !/^\d+$/.test(arch!)) {
    console.error("Usage: deno run -A tests/emulator/run.ts ARCH COMMAND...");
    Deno.exit(2);
  }
  const { folder } = await buildProduct(Number(arch));
  const { code } = await new Deno.Command(program, {
    args,
    env: { LD_LIBRARY_PATH: folder },
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  Deno.exit(code);
}
