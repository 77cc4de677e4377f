// The style sheets of pages and pictures. The theme follows the preference of the reader.

/** Returns the colors as custom properties of an element. */
export function themed(selector: string): string {
  return `${selector} {
  color-scheme: light dark;
  --page: #ffffff; --card: #f5f6f8; --line: #d8dce2; --text: #1b1f24; --muted: #5d6672; --bad: #c4320a; --good: #12724a;
  --series-1: #1a66c9; --series-2: #c2560c; --series-3: #0f7d6d; --series-4: #9a3bb5;
  --series-5: #8a6a00; --series-6: #52720b; --series-7: #be1f4f; --series-8: #4b5a6b;
}
@media (prefers-color-scheme: dark) { ${selector} {
  --page: #14171b; --card: #1d2126; --line: #363c45; --text: #e6e9ed; --muted: #9aa4b0; --bad: #ff8a65; --good: #5fd0a0;
  --series-1: #6aaeff; --series-2: #ffa35c; --series-3: #4bd0bd; --series-4: #d99bf0;
  --series-5: #e0bd4a; --series-6: #aed262; --series-7: #ff7fa3; --series-8: #b4c0ce;
} }
`;
}

/** The style of charts. */
export const chartStyle = `.chart { color: var(--muted); --plot-background: var(--page); }
.chart [aria-label$="grid"] { stroke: var(--line); stroke-opacity: 1; }
`;

/** The style of pages. */
export const pageStyle = `${themed(":root")}${chartStyle}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1440px; margin: 0 auto; padding: 24px clamp(12px, 3vw, 40px) 48px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 19px; margin: 36px 0 12px; }
h3 { font-size: 16px; margin: 0; }
p { margin: 4px 0; max-width: 80ch; }
.muted, figcaption { color: var(--muted); font-size: 14px; }
.cards { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 250px), 1fr)); margin: 20px 0 0; }
.card { min-width: 0; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px; }
.card h3 { font-size: 14px; font-weight: 400; color: var(--muted); }
.card strong { display: block; font-size: 21px; line-height: 1.3; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.charts { display: grid; gap: 16px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 350px), 1fr)); }
figure { margin: 0; border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; max-width: 480px; margin: 4px auto; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 6px 0 8px; padding: 0; list-style: none; font-size: 14px; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 50%; margin-right: 7px; vertical-align: -1px; }
details { margin-top: 6px; font-size: 14px; }
summary { cursor: pointer; color: var(--muted); width: fit-content; }
details .scroll { margin-top: 6px; max-height: 340px; overflow: auto; }
details :is(th, td) { padding: 4px 10px; }
:focus-visible { outline: 2px solid var(--series-1); outline-offset: 2px; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: 6px 12px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { background: var(--card); font-weight: 600; }
tr:last-child td { border-bottom: 0; }
.left { text-align: left; }
.wrap { white-space: normal; min-width: 22ch; overflow-wrap: anywhere; }
tr.best td { font-weight: 600; color: var(--good); }
tr.failed td { color: var(--bad); }
tr:has(+ tr.note) td { border-bottom: 0; padding-bottom: 0; }
tr.note td { font-size: 13px; padding-top: 2px; }
tr.hint td { color: var(--muted); }
.sticky { position: sticky; left: 12px; white-space: normal; max-width: min(900px, calc(100vw - 60px)); }
@media print { figure, tr { break-inside: avoid; } }
`;
