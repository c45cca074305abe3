// The graph of the model: laid out by dagre, drawn as SVG, moved and zoomed by d3.
"use strict";

const BOX = { width: 200, height: 42 };

/** What a box is called: without the op at the end, and cut to what fits. */
function label(name, most = 25) {
  const parts = name.split("/");
  if (parts.length > 1 && /^[A-Z]/.test(parts.at(-1))) parts.pop();
  const short = parts.join("/");
  return short.length <= most ? short : `${short.slice(0, most - 1)}…`;
}

/** Positions of the nodes and points of the edges, from the top down. */
function layout(nodes) {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: "TB", nodesep: 24, ranksep: 34, marginx: 16, marginy: 16 });
  graph.setDefaultEdgeLabel(() => ({}));
  nodes.forEach((_, place) => graph.setNode(String(place), { ...BOX }));
  nodes.forEach((node, place) => node.sources.forEach((source) => graph.setEdge(String(source), String(place))));
  dagre.layout(graph);
  return graph;
}

/** Draws the graph; `choose` is called with the place of a node that was clicked or gone to. `go` marks a node, `reveal`
 *  brings it to the middle as well. */
function drawGraph(svg, nodes, broken, choose) {
  const graph = layout(nodes);
  const world = svg.append("g");
  const zoom = d3.zoom().scaleExtent([0.05, 3]).on("zoom", (event) => world.attr("transform", event.transform));
  svg.call(zoom);
  drawEdges(world, graph, nodes);
  const boxes = drawBoxes(world, graph, nodes, broken);

  const go = (place) => {
    boxes.classed("chosen", (_, i) => i === place).attr("tabindex", (_, i) => (i === place ? 0 : -1));
    choose(place);
  };
  const reveal = (place) => {
    go(place);
    const { x, y } = graph.node(String(place));
    svg.call(zoom.translateTo, x, y);
  };
  boxes.on("click", (event) => go(boxes.nodes().indexOf(event.currentTarget)));
  boxes.on("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const next = boxes.nodes().indexOf(event.currentTarget) + step;
    if (!step || !nodes[next]) return;
    event.preventDefault();
    reveal(next);
    boxes.nodes()[next].focus({ preventScroll: true });
  });
  bindZoom(svg, zoom, graph.graph(), graph.node("0").x);
  return { go, reveal };
}

function drawEdges(world, graph, nodes) {
  const path = d3.line((point) => point.x, (point) => point.y).curve(d3.curveBasis);
  const coded = (edge) => [edge.v, edge.w].every((place) => nodes[place].kind === "int8");
  world.append("g").selectAll("path").data(graph.edges()).join("path")
    .attr("class", (edge) => (coded(edge) ? "edge codes" : "edge real"))
    .attr("d", (edge) => path(graph.edge(edge).points));
}

function drawBoxes(world, graph, nodes, broken) {
  const boxes = world.append("g").selectAll("g").data(nodes).join("g")
    .attr("class", (node, place) => `node ${node.kind}${broken.has(place) ? " break" : ""}`)
    .attr("role", "button")
    .attr("tabindex", (_, place) => (place === 0 ? 0 : -1))
    .attr("aria-label", (node) => `${node.name}, ${node.op}, ${node.kind}`)
    .attr("transform", (_, place) => {
      const { x, y } = graph.node(String(place));
      return `translate(${x - BOX.width / 2},${y - BOX.height / 2})`;
    });
  boxes.append("rect").attr("width", BOX.width).attr("height", BOX.height).attr("rx", 6);
  boxes.append("title").text((node) => node.name);
  boxes.append("text").attr("x", 10).attr("y", 18).text((node) => label(node.name));
  boxes.append("text").attr("class", "op").attr("x", 10).attr("y", 33)
    .text((node) => (node.also.length ? `${node.op} and ${node.also.length} more` : node.op));
  return boxes;
}

/** The buttons, and where the view begins: at the first node, as large as is legible. */
function bindZoom(svg, zoom, size, first) {
  const room = svg.node().getBoundingClientRect();
  const whole = Math.min(1, room.width / size.width, room.height / size.height);
  const begin = Math.min(1, Math.max(0.6, room.width / size.width));
  const at = (scale, middle, top) => d3.zoomIdentity.translate(room.width / 2 - middle * scale, top).scale(scale);
  svg.call(zoom.transform, at(begin, first, 0));
  const actions = {
    in: () => svg.call(zoom.scaleBy, 1.4),
    out: () => svg.call(zoom.scaleBy, 1 / 1.4),
    all: () => svg.call(zoom.transform, at(whole, size.width / 2, (room.height - size.height * whole) / 2)),
  };
  d3.selectAll("[data-zoom]").on("click", (event) => actions[event.currentTarget.dataset.zoom]());
}
