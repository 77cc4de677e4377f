import { cpus } from "node:os";

/** The processor's name, or what kind it is where the permission to ask was not given. */
export function cpuName(): string {
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "cpus" });
  const model = state === "granted" ? cpus()[0]?.model : undefined;
  return model ?? `CPU (${Deno.build.arch})`;
}
