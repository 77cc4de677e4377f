// The charts' libraries. Users get them bundled as library.js, so that neither is downloaded with the tool: `deno task build:charts`.
export * from "npm:@observablehq/plot@0.6.17";
export { parseHTML } from "npm:linkedom@0.18.15";
