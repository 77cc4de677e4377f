// The libraries that draw the charts: Observable Plot, and a document for it to draw into. `deno task build:charts` bundles
// them into library.ts, so that users of the tool download neither.
export * from "npm:@observablehq/plot@0.6.17";
export { parseHTML } from "npm:linkedom@0.18.15";
