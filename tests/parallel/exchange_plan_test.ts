import { assertEquals, assertThrows } from "@std/assert";
import { digestText, planExchange, readTable, shareOf } from "../../src/parallel/exchange_plan.ts";

/** A small generator of integers below a limit. */
function integers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = Math.imul(state ^ state >>> 15, 0x2c1b3c6d) + 0x6d2b79f5 | 0;
    return (state >>> 8) % limit;
  };
}

function offsetsOf(counts: readonly number[]): Int32Array {
  const offsets = new Int32Array(counts.length + 1);
  counts.forEach((count, e) => offsets[e + 1] = (offsets[e] ?? 0) + count);
  return offsets;
}

Deno.test("the shares of the ranks cover everything once, in order", () => {
  for (const [total, ranks] of [[32, 2], [33, 4], [3, 8], [0, 3], [128, 5]] as const) {
    let next = 0;
    for (let rank = 0; rank < ranks; rank++) {
      const { start, end } = shareOf(total, ranks, rank);
      assertEquals(start, next);
      next = end;
    }
    assertEquals(next, total);
  }
});

Deno.test("every row arrives once, ordered by rank and expert, whatever the counts are", () => {
  const random = integers(1);
  for (let round = 0; round < 300; round++) {
    const ranks = 1 + random(6), experts = 1 + random(12), limit = [1, 2, 5, 40][random(4)] ?? 1;
    const busy = random(experts + 1); // sometimes one rank gets everything, or nobody gets anything
    const counts = Array.from(
      { length: ranks },
      () => Array.from({ length: experts }, (_, e) => round % 3 === 0 && e !== busy ? 0 : random(limit)),
    );
    const offsets = counts.map(offsetsOf);
    const plans = offsets.map((_, rank) => planExchange(offsets, rank));
    // The rows of each rank are (source, expert, number), sorted by expert.
    const rows = counts.map((row, source) =>
      row.flatMap((count, expert) => Array.from({ length: count }, (_, i) => `${source} ${expert} ${i}`))
    );
    const arrived = plans.map(({ receives, received }, target) => {
      const buffer = Array<string>(received);
      receives.forEach(({ start, rows: count }, source) => {
        const send = plans[source]?.sends[target];
        assertEquals(send?.rows, count);
        const begin = send?.start ?? 0;
        rows[source]?.slice(begin, begin + count).forEach((row, i) => buffer[start + i] = row);
      });
      return buffer;
    });
    arrived.forEach((buffer, target) => {
      const { start, end } = shareOf(experts, ranks, target);
      const expected = counts.flatMap((row, source) =>
        row.slice(start, end).flatMap((count, e) =>
          Array.from({ length: count }, (_, i) => `${source} ${start + e} ${i}`)
        )
      );
      assertEquals(buffer, expected);
    });
    assertEquals(arrived.flat().length, rows.flat().length);
    plans.forEach(({ sent }, rank) => assertEquals(sent, rows[rank]?.length));
  }
});

Deno.test("a rank whose call differs is named", () => {
  const row = (digest: number) => [digest, 5, 0, 2, 4];
  const same = digestText("a"), other = digestText("b");
  const { offsets, tokens } = readTable(Int32Array.from([row(same), row(same)].flat()), 2, 0);
  assertEquals([offsets.map((o) => [...o]), tokens], [[[0, 2, 4], [0, 2, 4]], [5, 5]]);
  assertThrows(
    () => readTable(Int32Array.from([row(same), row(same), row(other)].flat()), 3, 1),
    RangeError,
    "the sizes or options of rank 2 differ from those of rank 1",
  );
});
