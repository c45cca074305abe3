// Puts the drawings on the page, and lets everything that names a block choose it.
"use strict";

const { nodes, blocks, breaks, samples, search } = JSON.parse(document.getElementById("drawing").textContent);
const placeOf = new Map(nodes.map((node, place) => [node.name, place]));
const broken = new Set(breaks.flat().filter((place) => nodes[place].kind !== "int8"));
const PANEL = 350; // pixels of a plot beside the graph

function element(tag, text, parent) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  parent?.append(made);
  return made;
}

/** What is known of a node, beside the graph; the three graphs of its block below. */
function show(place) {
  const node = nodes[place], block = blocks[node.block], panel = document.getElementById("chosen");
  history.replaceState(null, "", `#node-${place}`);
  panel.replaceChildren();
  element("h3", node.name, panel);
  element("p", block ? `${block.rewrite} as ${block.op}` : node.op, panel);
  if (node.also.length) element("p", `with ${node.also.join(", ")}`, panel);
  if (node.reason) element("p", `In float: ${node.reason}.`, panel);
  facts(panel, node, block);
  if (block) plots(panel, block);
  const texts = block && document.querySelectorAll("#blocks > details")[node.block].querySelector(".graphs");
  document.getElementById("chosen-graphs").replaceChildren(...(texts ? [texts.cloneNode(true)] : []));
}

function facts(panel, node, block) {
  const ms = block?.ms ?? node.ms;
  const pairs = [
    ["error by itself", block?.own && decibels(block.own)],
    ["with all before it", block?.total && decibels(block.total)],
    ["time in float", ms && milliseconds(ms[0])],
    [block ? "time in 8 bits" : "time beside 8 bits", ms && milliseconds(ms[1])],
  ].filter(([, value]) => value);
  const list = element("dl", "", panel);
  for (const [name, value] of pairs) {
    element("dt", name, list);
    element("dd", value, list);
  }
}

function plots(panel, block) {
  const tensors = [...(block.reads ?? []).map((tensor) => [`Reads ${label(tensor.name, 40)}`, tensor]),
                   ...(block.gives ? [["Result", block.gives]] : [])];
  for (const [title, { values, lo, hi, encoding }] of tensors) {
    element("h4", title, panel);
    element("p", `${number(values.lo)} to ${number(values.hi)}; ${encoding} codes cover ${number(lo)} to ${number(hi)}`, panel);
    panel.append(histogram(values, { lo, hi }, PANEL));
  }
  const weight = block.weight;
  if (!weight) return;
  element("h4", "Weight", panel);
  const limit = weight.limits[0];
  element("p", `${number(weight.values.lo)} to ${number(weight.values.hi)}; ${weight.per_channel ? "each channel has a range of its own inside" : "one scale for"} ±${number(limit)}`, panel);
  panel.append(histogram(weight.values, { lo: -limit, hi: limit }, PANEL));
  element("h4", `Ranges of its ${weight.channels} channels`, panel);
  element("p", `${decibels(weight.channel_db)} with a scale each, ${decibels(weight.tensor_db)} with one for all`, panel);
  panel.append(channels(weight, PANEL));
}

function section(id, note, ...plots) {
  const found = document.getElementById(id);
  found.hidden = false;
  if (note) found.querySelector(".note").textContent = note;
  found.querySelector(".rows").append(...plots);
}

function drawSections(select) {
  const room = Math.max(760, document.querySelector("main").clientWidth - 120);
  const computing = blocks.filter(({ own }) => own !== null && own !== undefined);
  if (computing.length) section("losses", "", errorRows(computing, room, select), timeRows(computing, room, select));
  const weighted = blocks.filter(({ weight }) => weight);
  if (weighted.length) section("weights", weightNote(weighted), ...weightRows(weighted, room, select));
  if (search) {
    const note = `${search.trials.length} models were tried for ${search.metric}; the float model reaches ${number(search.float)}, at least ${number(search.target)} was asked for (dashed).`;
    section("search", note, pareto(search, room * 0.5), ...(search.ranking.length ? [ranking(search.ranking, room, select)] : []));
  }
}

/** What per-channel scales are worth in this model. */
function weightNote(weighted) {
  const lost = ({ weight }) => weight.channel_db - weight.tensor_db;
  const worst = d3.greatest(weighted, lost);
  return `What rounding leaves of each weight, averaged over its channels. One scale a channel is worth ${d3.mean(weighted, lost).toFixed(1)} dB on average, and most in ${label(worst.name, 60)}: ${decibels(worst.weight.tensor_db)} with one scale, ${decibels(worst.weight.channel_db)} with one a channel.`;
}

function findBlocks(event) {
  const wanted = event.target.value.toLowerCase();
  for (const block of document.querySelectorAll("#blocks > details")) {
    block.hidden = !block.firstElementChild.textContent.toLowerCase().includes(wanted);
  }
}

function start() {
  document.getElementById("find").addEventListener("input", findBlocks);
  if (!nodes.length) return;
  const graph = drawGraph(d3.select("#graph"), nodes, broken, show);
  const select = (block) => {
    if (!placeOf.has(block.name)) return;
    graph.reveal(placeOf.get(block.name));
    document.querySelector(".model").scrollIntoView({ block: "nearest", behavior: "smooth" });
  };
  drawSections(select);
  for (const button of document.querySelectorAll("[data-break]")) {
    button.addEventListener("click", () => {
      const place = breaks[button.dataset.break].find((one) => broken.has(one)) ?? breaks[button.dataset.break][0];
      select(nodes[place]);
    });
  }
  const wanted = Number(/^#node-(\d+)$/.exec(location.hash)?.[1] ?? NaN);
  const first = nodes.findIndex((node) => node.block !== null);
  if (nodes[wanted]) graph.reveal(wanted);
  else graph.go(Math.max(first, 0));
}

start();
document.body.dataset.ready = "yes";
