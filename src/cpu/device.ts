/** The processor's name, where the system tells it without asking for a permission that was not given. */
export function cpuName(): string | undefined {
  const path = "/proc/cpuinfo";
  if (Deno.permissions.querySync({ name: "read", path }).state !== "granted") return undefined;
  try {
    return Deno.readTextFileSync(path).match(/^model name\s*:\s*(.+)$/m)?.[1];
  } catch {
    return undefined; // No such file: not Linux.
  }
}
