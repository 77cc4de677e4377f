import { cpus } from "node:os";

/** The name of the processor, or only its architecture without the permission `--allow-sys=cpus`. */
export function cpuName(): string {
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "cpus" });
  const model = state === "granted" ? cpus()[0]?.model : undefined;
  return model ?? `CPU (${Deno.build.arch})`;
}
