import config from "../deno.json" with { type: "json" };

/** This package's version. */
export const version: string = config.version;
