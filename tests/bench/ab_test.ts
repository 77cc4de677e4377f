// `yamoe bench --ab`: what it prints and keeps, and what it refuses. recompute_test.ts checks its figures.
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { words, yamoe } from "../cli/yamoe.ts";

const shared = words(
  "bench --preset tiny --batch 1 --backend cpu --threads 1 --iters 20 --min-time 0.01 --max-noise 1000 --timeout 20",
);

Deno.test("bench --ab reports the ratio, says if the outputs differ, and keeps a record of each side", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/ab.jsonl`;
    const args = [...shared, "--output", path, "--ab", "--seq 8", "--seq 512"];
    const { code, stdout, stderr } = await yamoe(args, [`-R=${folder}`, `-W=${folder}`]);
    assertEquals(code, 0, stderr);
    const [titles = "", a = "", b = "", ratio = "", difference] = stdout.trimEnd().split("\n");
    assertMatch(titles, /^ +median ms +min ms +noise +flags$/);
    assertMatch(a, /^A .* --seq 8$/);
    assertMatch(b, /^B .* --seq 512$/);
    assertMatch(ratio, /^B \/ A: [\d.]+, 95 % interval [\d.]+ to [\d.]+, \d+ pairs: B is slower$/);
    assertEquals(difference, "The outputs differ: A and B do not compute the same");
    const rows = (await Deno.readTextFile(path)).trimEnd().split("\n").map((line) => JSON.parse(line));
    assertEquals(rows.map(({ seq, status }) => [seq, status]), [[8, "ok"], [512, "ok"]]);
    assertEquals(rows[0].iters, rows[1].iters);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

const refused: readonly (readonly [sides: readonly string[], message: string])[] = [
  [["--nope", ""], 'A of --ab: Unknown flag "--nope"'],
  [["", "--batch 1,2"], "B of --ab: Each side must have one configuration, got 2"],
  [["", "--top-k 99"], 'B of --ab: --top-k must be at most the number of experts, 8, got "99"'],
  [["", "--gpus 2 --backend auto"], "B of --ab: --gpus cannot be compared call by call"],
  [[""], "--ab needs 2 values"],
  [["", "", "--dry-run"], "--ab and --dry-run cannot be given together"],
];

for (const [sides, message] of refused) {
  Deno.test(`bench --ab ${sides.map((side) => JSON.stringify(side)).join(" ")} is refused`, async () => {
    const { code, stdout, stderr } = await yamoe([...shared, "--ab", ...sides]);
    assertEquals({ code, stdout }, { code: 2, stdout: "" });
    assertStringIncludes(stderr, message);
  });
}
