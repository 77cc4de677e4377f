// Throws in other runtimes, in which the first use of Deno would fail with a message that does not help.

if (!("Deno" in globalThis)) {
  throw new Error(
    `Cannot load yamoe: expected Deno, got ${globalThis.navigator?.userAgent ?? "another runtime"}; ` +
      "with Node.js, run `npx -y deno run` instead of `node`",
  );
}
