// A port for ranks on one host.

/**
 * Returns a port that is free at present. It is below the range from which systems choose ports, so that no connection takes it
 * before rank 0 listens on it. It is drawn, because other runs may start at the same time.
 *
 * @throws {Deno.errors.AddrInUse} If a hundred ports are in use.
 */
export function freePort(): number {
  for (let attempt = 1;; attempt++) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    try {
      using _listener = Deno.listen({ hostname: "127.0.0.1", port });
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse) || attempt === 100) throw error;
    }
  }
}
