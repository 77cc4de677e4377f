// Types for the part of library.ts in use. The packages' own types would make every user download the packages.

/** An option: a constant, the name of a field, values, or a function of a row. */
export type Option<Row> =
  | string
  | number
  | boolean
  | null
  | undefined
  | readonly (string | number)[]
  | ((row: Row) => string | number);

/** A mark's channels and styles: https://observablehq.com/plot/features/marks. */
export type MarkOptions<Row> = Readonly<Record<string, Option<Row>>>;

/** A scale and its axis: https://observablehq.com/plot/features/scales. */
export type ScaleOptions = Readonly<Record<string, Option<number>>>;

/** A layer of a chart. */
export interface Mark {
  readonly data: unknown;
}

/** A mark's function. */
export type MarkFunction = <Row>(rows: readonly Row[], options?: MarkOptions<Row>) => Mark;

/** A chart: https://observablehq.com/plot/features/plots. */
export interface PlotOptions {
  readonly document?: Document;
  readonly width?: number;
  readonly height?: number;
  readonly marginLeft?: number;
  readonly marginRight?: number;
  readonly marginTop?: number;
  readonly marginBottom?: number;
  readonly className?: string;
  readonly style?: Readonly<Record<string, string>>;
  readonly x?: ScaleOptions;
  readonly y?: ScaleOptions;
  readonly fx?: ScaleOptions;
  readonly fy?: ScaleOptions;
  readonly color?: ScaleOptions;
  readonly marks?: readonly Mark[];
}

/** A document that Plot draws into. */
export interface Document {
  readonly nodeType: number;
}

export const barX: MarkFunction;
export const barY: MarkFunction;
export const dot: MarkFunction;
export const line: MarkFunction;
export const lineY: MarkFunction;
export const ruleX: MarkFunction;
export const ruleY: MarkFunction;
export const text: MarkFunction;
export const tickX: MarkFunction;
export function plot(options: PlotOptions): { readonly outerHTML: string };
export function parseHTML(html: string): { readonly document: Document };
