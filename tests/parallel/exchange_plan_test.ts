import { assertEquals, assertThrows } from "@std/assert";
import { digestText, type Part, planExchange, readTable, shareOf } from "../../src/parallel/exchange_plan.ts";

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

Deno.test("every kept row arrives once, ordered by expert, rank and token, and returns to its place", () => {
  const random = integers(1);
  for (let round = 0; round < 300; round++) {
    const ranks = 1 + random(6), experts = 1 + random(12), limit = [1, 2, 5, 40][random(4)] ?? 1;
    const capacity = round % 4 === 0 ? 1 + random(20) : Infinity;
    const busy = random(experts + 1); // sometimes one rank gets everything, or nobody gets anything
    const counts = Array.from(
      { length: ranks },
      () => Array.from({ length: experts }, (_, e) => round % 3 === 0 && e !== busy ? 0 : random(limit)),
    );
    const offsets = counts.map((row) => offsetsOf(row.map((count) => Math.min(count, capacity))));
    const plans = offsets.map((_, rank) => planExchange(offsets, rank, capacity));
    // The sorted rows of each rank are (expert, rank, number). Those beyond the capacity of all ranks are dropped.
    const sorted = counts.map((row, rank) =>
      row.flatMap((count, e) => Array.from({ length: Math.min(count, capacity) }, (_, i) => `${e} ${rank} ${i}`))
    );
    const expected = counts[0]?.map((_, e) =>
      counts.flatMap((row, rank) =>
        Array.from({ length: row[e] ?? 0 }, (_, i) => `${e} ${rank} ${i}`)
      ).slice(0, capacity)
    ) ?? [];
    const kept = new Set(expected.flat());

    const computed = plans.map(({ computed, expertOffsets }, target) => {
      const rows = Array<string>(expertOffsets.at(-1) ?? 0);
      computed.forEach((parts, source) =>
        move(sorted[source], plans[source]?.own[target], rows, parts)
      );
      return rows;
    });
    computed.forEach((rows, target) => {
      const { start, end } = shareOf(experts, ranks, target);
      const own = expected.slice(start, end);
      assertEquals(rows, own.flat());
      assertEquals([...plans[target]?.expertOffsets ?? []], [...offsetsOf(own.map(({ length }) => length))]);
    });
    plans.forEach(({ own, drops }, rank) => {
      const returned = Array<string>(sorted[rank]?.length ?? 0).fill("dropped");
      own.forEach((parts, source) => move(computed[source], plans[source]?.computed[rank], returned, parts));
      assertEquals(returned, sorted[rank]?.map((row) => kept.has(row) ? row : "dropped"));
      assertEquals(drops, returned.includes("dropped"));
    });
  }
});

/** Copies parts of a list to parts of another one. */
function move(
  from: readonly string[] = [],
  sends: readonly Part[] = [],
  to: string[],
  receives: readonly Part[],
): void {
  assertEquals(sends.map(({ rows }) => rows), receives.map(({ rows }) => rows));
  sends.forEach(({ start, rows }, p) => {
    for (let i = 0; i < rows; i++) to[(receives[p]?.start ?? 0) + i] = from[start + i] ?? "";
  });
}

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
