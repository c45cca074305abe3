// The plot of a tuning: throughput against latency; colours are those of the page, so that they follow its scheme.
"use strict";

const { trials, limit } = JSON.parse(document.getElementById("drawing").textContent);
const COLOURS = { best: "var(--mark)", default: "var(--break)", front: "var(--int8)", other: "var(--values)" };
const LEGEND = { best: "best", default: "TensorFlow as it comes", front: "nothing is better in both" };
const short = (value) => String(Number(value.toPrecision(3)));

/** A logarithmic axis with some room at its ends; its ticks are round numbers. */
function axis(values, label, reverse) {
  const [low, high] = d3.extent(values);
  const domain = [low / 1.08, high * 1.08];
  const ticks = d3.ticks(...domain, 6).filter((value) => value > 0);
  return { type: "log", domain: reverse ? domain.reverse() : domain, ticks, tickFormat: short, label,
           labelArrow: "none", labelAnchor: "center" };
}

function plot(width) {
  const front = d3.sort(trials.filter((trial) => trial.front), (trial) => trial.rate);
  const named = trials.filter((trial) => trial.kind === "best" || trial.kind === "default");
  const place = { x: "rate", y: "ms" };
  return Plot.plot({
    width, height: 440, marginLeft: 64, marginTop: 24, marginRight: 40, marginBottom: 44, grid: true,
    r: { type: "identity" },
    x: axis(trials.map((trial) => trial.rate), "images in a second"),
    y: axis([...trials.map((trial) => trial.ms), ...(limit ? [limit] : [])], "ms of a batch, median", true),
    marks: [
      limit ? Plot.ruleY([limit], { stroke: "var(--break)", strokeDasharray: "4 3" }) : null,
      Plot.line(front, { ...place, curve: "step-before", stroke: "var(--int8)", strokeOpacity: 0.5, strokeWidth: 2 }),
      Plot.dot(trials, { ...place, r: (trial) => (trial.kind === "best" ? 8 : 5), stroke: "var(--card)",
                         fill: (trial) => COLOURS[trial.kind], title: (trial) => trial.what, sort: (trial) => trial.kind === "best" }),
      Plot.text(named, { ...place, text: (trial) => LEGEND[trial.kind], dy: -16, fill: "var(--ink)" }),
    ],
  });
}

const room = document.getElementById("plot");
if (trials.length) room.append(plot(Math.max(480, room.clientWidth - 34)));
document.body.dataset.ready = "yes";
