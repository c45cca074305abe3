// The plots, made with Observable Plot; colours are those of the page, so that they follow its scheme.
"use strict";

const ROW = 19, NAMES = 200; // pixels: the height of a row, the width of its name
const number = (value) => (value === 0 ? "0" : Math.abs(value) >= 1e4 || Math.abs(value) < 1e-3
  ? value.toExponential(1) : String(Number(value.toPrecision(3))));
const decibels = (value) => (value === null || value === undefined ? "not known" : value >= 99 ? "exact" : `${value.toFixed(1)} dB`);
const milliseconds = (value) => `${value.toFixed(value < 10 ? 2 : 1)} ms`;

/** The bars of a histogram, with the range that 8-bit codes cover drawn in. */
function histogram({ lo, hi, counts }, range, width) {
  const step = (hi - lo) / counts.length;
  const bars = counts.map((count, i) => ({ x1: lo + i * step, x2: lo + (i + 1) * step, y: Math.log10(1 + count) }));
  return Plot.plot({
    width, height: 110, marginLeft: 8, marginRight: 8, marginTop: 6, marginBottom: 24,
    x: { ticks: 5, label: null, tickFormat: number }, y: { axis: null },
    marks: [
      Plot.rectX([range], { x1: "lo", x2: "hi", fill: "var(--int8)", fillOpacity: 0.1 }),
      Plot.rectY(bars, { x1: "x1", x2: "x2", y: "y", fill: "var(--values)", inset: 0 }),
      Plot.ruleX([range.lo, range.hi], { stroke: "var(--int8)", strokeWidth: 2 }),
      Plot.ruleY([0], { stroke: "var(--soft)" }),
    ],
  });
}

/** The largest weight of each channel, from the largest to the smallest. */
function channels({ limits, channels: count }, width) {
  const dots = limits.map((limit, i) => ({
    rank: limits.length > 1 ? 1 + (i * (count - 1)) / (limits.length - 1) : 1,
    limit: Math.max(limit, limits[0] * 1e-6),
  }));
  return Plot.plot({
    width, height: 120, marginLeft: 44, marginRight: 8, marginTop: 8, marginBottom: 30,
    x: { label: "channels, widest first", ticks: 5, labelAnchor: "center", labelArrow: "none" },
    y: { type: "log", label: null, ticks: 3, tickFormat: number, grid: true },
    marks: [
      Plot.ruleY([limits[0]], { stroke: "var(--break)", strokeDasharray: "4 3" }),
      Plot.dot(dots, { x: "rank", y: "limit", r: 2, fill: "var(--int8)" }),
    ],
  });
}

/** A plot with a row for each block; the names stand left of the first one. */
function rows(blocks, { width, names, label: title, marks, x, select }) {
  const places = blocks.map((_, i) => i);
  const plot = Plot.plot({
    width: width + (names ? NAMES : 0), height: blocks.length * ROW + 40,
    marginLeft: names ? NAMES : 12, marginRight: 16, marginTop: 34, marginBottom: 6,
    x: { axis: "top", label: title, labelAnchor: "left", labelArrow: "none", grid: true, ...x },
    y: { domain: places, type: "band", padding: 0, label: null, axis: names ? "left" : null, tickSize: 0,
         tickFormat: (i) => label(blocks[i].name, 32) },
    marks: [...marks, Plot.barX(places, { y: (i) => i, x1: x.domain[0], x2: x.domain[1], fill: "transparent",
                                         className: "picks" })],
  });
  d3.select(plot).selectAll(".picks rect, [aria-label=bar]:last-of-type rect")
    .classed("pick", true).on("click", (event, i) => select?.(blocks[i]))
    .append("title").text((i) => blocks[i].name);
  return plot;
}

function errorRows(blocks, room, select) {
  const most = Math.max(40, ...blocks.flatMap(({ own, total }) => [own ?? 0, total ?? 0]).filter((value) => value < 99));
  const worst = blocks.map(({ own }) => own).sort(d3.ascending)[Math.min(4, blocks.length - 1)];
  const places = d3.range(blocks.length);
  return rows(blocks, {
    width: room * 0.55 - NAMES, names: true, label: "SQNR in dB, by itself (bar) and so far (line)", x: { domain: [0, most] }, select,
    marks: [
      Plot.barX(places, { y: (i) => i, x: (i) => Math.min(blocks[i].own, most), insetTop: 4, insetBottom: 4,
                         fill: (i) => (blocks.length > 8 && blocks[i].own <= worst ? "var(--break)" : "var(--int8)") }),
      Plot.tickX(places.filter((i) => blocks[i].total !== null), { y: (i) => i, x: (i) => Math.min(blocks[i].total, most),
                         stroke: "var(--ink)", strokeWidth: 2, insetTop: 2, insetBottom: 2 }),
    ],
  });
}

function timeRows(blocks, room, select) {
  const most = Math.max(...blocks.flatMap(({ ms }) => ms));
  const places = d3.range(blocks.length);
  const bar = (which, fill, insets) => Plot.barX(places, { y: (i) => i, x: (i) => blocks[i].ms[which], fill, ...insets });
  return rows(blocks, {
    width: room * 0.45, names: false, label: "ms in float (grey) and in 8 bits (blue)", x: { domain: [0, most] }, select,
    marks: [
      bar(0, "var(--values)", { insetTop: 3, insetBottom: ROW / 2 }),
      bar(1, "var(--int8)", { insetTop: ROW / 2, insetBottom: 3 }),
    ],
  });
}

function weightRows(blocks, room, select) {
  const weights = blocks.map(({ weight }) => weight);
  const places = d3.range(blocks.length);
  const most = Math.max(50, ...weights.map((weight) => weight.channel_db));
  const ratios = weights.map(({ limits }) => limits[0] / Math.max(limits.at(-1), limits[0] * 1e-6));
  const dot = (key, fill) => Plot.dot(places, { y: (i) => i, x: (i) => Math.max(0, weights[i][key]), r: 4, fill });
  const scales = rows(blocks, {
    width: room * 0.6 - NAMES, names: true, label: "SQNR of the weight in dB, with one scale (orange) and one a channel (blue)",
    x: { domain: [0, most] }, select,
    marks: [
      Plot.ruleY(places, { y: (i) => i, x1: (i) => Math.max(0, weights[i].tensor_db), x2: (i) => weights[i].channel_db,
                          stroke: "var(--values)", strokeWidth: 2 }),
      dot("tensor_db", "var(--break)"), dot("channel_db", "var(--int8)"),
    ],
  });
  const spread = rows(blocks, {
    width: room * 0.4, names: false, label: "widest channel over narrowest", select,
    x: { type: "log", domain: [1, Math.max(10, ...ratios)], ticks: 5, tickFormat: (value) => `${number(value)}` },
    marks: [Plot.barX(places, { y: (i) => i, x1: 1, x2: (i) => ratios[i], fill: "var(--values)", insetTop: 5, insetBottom: 5 })],
  });
  return [scales, spread];
}

/** Accuracy against speed of all trials; the best of them joined by a line. */
function pareto({ trials, target, float, metric }, width) {
  const best = trials.filter((trial) => !trials.some((other) => other !== trial
    && other.value >= trial.value && other.speedup >= trial.speedup
    && (other.value > trial.value || other.speedup > trial.speedup)));
  return Plot.plot({
    width, height: 300, marginLeft: 56, marginTop: 28, marginBottom: 36, grid: true, r: { type: "identity" },
    x: { label: "times the speed of the float model", labelArrow: "none", labelAnchor: "center" },
    y: { label: metric, labelArrow: "none", tickFormat: number, nice: true },
    marks: [
      Plot.ruleY([target], { stroke: "var(--break)", strokeDasharray: "4 3" }),
      Plot.line(d3.sort(best, (trial) => trial.speedup), { x: "speedup", y: "value", stroke: "var(--values)", strokeWidth: 2 }),
      Plot.dot([{ speedup: 1, value: float }], { x: "speedup", y: "value", r: 5, fill: "var(--fp32)" }),
      Plot.dot(trials, { x: "speedup", y: "value", r: (trial) => (trial.chosen ? 7 : 4), fill: "var(--int8)",
                         stroke: "var(--card)", title: (trial) => trial.what }),
      Plot.text(trials.filter((trial) => trial.chosen), { x: "speedup", y: "value", text: () => "chosen", dy: -14, fill: "var(--ink)" }),
      Plot.text([{ speedup: 1, value: float }], { x: "speedup", y: "value", text: () => "float", dy: -12, fill: "var(--ink)" }),
    ],
  });
}

/** The blocks by the error that they make in the model's outputs. */
function ranking(entries, room, select) {
  const blocks = entries.slice(0, 20);
  const most = Math.max(...blocks.map(({ error }) => error));
  return rows(blocks, {
    width: room * 0.5 - NAMES, names: true, label: "noise over signal in the outputs", x: { domain: [0, most], ticks: 4, tickFormat: number }, select,
    marks: [Plot.barX(d3.range(blocks.length), { y: (i) => i, x: (i) => blocks[i].error, fill: "var(--int8)", insetTop: 4, insetBottom: 4 })],
  });
}
