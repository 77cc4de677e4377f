import { assert, assertEquals } from "@std/assert";

const setting = "/sys/kernel/mm/transparent_hugepage/enabled";
const size = 2 * 2 ** 20, pages = 16;

/** MiB that become resident when one byte in each 2 MiB of a tensor is touched, in a process with these permissions. */
async function residentMegabytes(...permissions: string[]): Promise<number> {
  const script = `
    import { zeros } from "${import.meta.resolve("../src/tensor/tensor.ts")}";
    const { data } = zeros("f32", [${(pages + 1) * size / 4}]);
    const before = Deno.memoryUsage().rss;
    for (let i = 0; i < data.length; i += ${size / 4}) data[i] = 1;
    console.log((Deno.memoryUsage().rss - before) / 2 ** 20);`;
  const url = `data:application/typescript,${encodeURIComponent(script)}`;
  const args = ["run", "--no-prompt", "--no-check", ...permissions, url];
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  assert(success, new TextDecoder().decode(stderr));
  return Number(new TextDecoder().decode(stdout));
}

Deno.test({
  name: "zeros() asks for huge pages where FFI is permitted, and is silent where it is not",
  ignore: Deno.build.os !== "linux" || Deno.permissions.querySync({ name: "run" }).state !== "granted",
  async fn() {
    const { stdout } = await new Deno.Command("cat", { args: [setting] }).output();
    const answer = new TextDecoder().decode(stdout).match(/\[(\w+)\]/)?.[1]; // always, madvise, never, or no such file
    const [without, permitted] = [await residentMegabytes(), await residentMegabytes("--allow-ffi")];
    const all = 2 * pages;
    assertEquals([without > all / 2, permitted > all / 2], [
      answer === "always",
      ["always", "madvise"].includes(answer ?? ""),
    ]);
  },
});
