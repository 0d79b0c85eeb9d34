"use strict";
// Draws what the program has worked out: lanes, bands, arrows, spans and marks. All times are in microseconds.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const css = getComputedStyle(document.documentElement);
const color = (name) => css.getPropertyValue("--" + name).trim();
const COLORS = {};
for (const name of ["paper", "ink", "faint", "rule", "row", "primary", "standby", "broken", "up", "down", "paused", "cut", "disk",
  "ok", "failed", "unknown", "open", "cluster", "sql", "lost", "check", "choice"]) COLORS[name] = color(name);
const BAND_COLORS = { primary: "primary", standby: "standby", detected_broken_config: "broken", up: "up", down: "down",
  paused: "paused", cut: "cut", disk: "disk" };
const OUTCOMES = { ok: "ok", committed: "ok", failed: "failed", refused: "failed", unknown: "unknown", "": "open" };

// The order is that of the program's groups; the last two are much and little, and off at first.
const GROUPS = ["steps", "roles and lives", "statements", "roots", "warnings and errors", "disk faults", "sessions", "network",
  "syncs", "what servers say"];
const OFF_AT_FIRST = ["network", "what servers say"];
const ARROW_GROUPS = { cluster: "messages between servers", sql: "messages with clients", lost: "lost messages" };
const shown = {};

const LEFT = 118, RULER = 24;
const HEIGHTS = { operator: 58, server: 92, client: 30 };
const lanes = data.lanes.map((lane) => ({ ...lane }));
let height = RULER;
for (const lane of lanes) {
  lane.top = height;
  lane.height = HEIGHTS[lane.kind];
  lane.middle = lane.top + (lane.kind === "server" ? 52 : lane.height / 2);
  height += lane.height;
}
height += 8;

// What is looked for by time is sorted by time; the longest one tells how far back to look.
const arrows = data.arrows;
const longestArrow = arrows.reduce((longest, arrow) => Math.max(longest, arrow.arrived - arrow.sent), 0);
const spans = data.spans;
const end = Math.max(data.end, 1);
const view = { from: 0, to: end };
let choice = null, query = "", matching = null, matchLines = [], hits = [];

const lineTime = (index) => data.lines[index][0];
const lineText = (index) => data.lines[index][2] + " " + data.lines[index][3];

function moment(micros) {
  return (micros / 1e6).toFixed(6) + "s";
}

/// The first index of `list` whose time is at least `time`.
function firstAt(list, time, of) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(list[middle]) < time) low = middle + 1; else high = middle;
  }
  return low;
}

const canvas = byId("lanes"), overview = byId("overview");

function fitCanvas(element, wide, tall) {
  const ratio = window.devicePixelRatio || 1;
  element.width = Math.round(wide * ratio);
  element.height = Math.round(tall * ratio);
  element.style.width = wide + "px";
  element.style.height = tall + "px";
  const context = element.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

let width = 800, frame = 0;
function redraw() {
  if (frame) return;
  frame = requestAnimationFrame(() => { frame = 0; draw(); drawOverview(); });
}

const xOf = (time) => LEFT + (time - view.from) / (view.to - view.from) * (width - LEFT);
const timeOf = (x) => view.from + (x - LEFT) / (width - LEFT) * (view.to - view.from);
const bright = (index) => matching === null || (index !== null && index !== undefined && matching.has(index));

function draw() {
  width = byId("scroll").clientWidth || 800;
  const context = fitCanvas(canvas, width, height);
  hits = [];
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  lanes.forEach((lane, index) => {
    context.fillStyle = index % 2 ? COLORS.paper : COLORS.row;
    context.fillRect(0, lane.top, width, lane.height);
  });
  drawRuler(context);
  context.save();
  context.beginPath();
  context.rect(LEFT, 0, width - LEFT, height);
  context.clip();
  for (const band of data.bands) drawBand(context, band, false);
  drawArrows(context);
  for (const band of data.bands) drawBand(context, band, true);
  const steps = [];
  for (const span of spans) {
    if (lanes[span.lane].kind === "operator") steps.push(span); else drawSpan(context, span);
  }
  drawSteps(context, steps);
  drawMarks(context);
  if (data.failed_at !== null) {
    context.fillStyle = COLORS.check;
    context.fillRect(xOf(data.failed_at) - 1, 0, 2, height);
  }
  drawChoice(context);
  context.restore();
  drawNames(context);
}

function drawRuler(context) {
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 3e7, 6e7, 3e8, 6e8, 3.6e9];
  const wanted = (view.to - view.from) / Math.max(1, (width - LEFT) / 110);
  const step = steps.find((step) => step >= wanted) || steps[steps.length - 1];
  const digits = step >= 1e6 ? 0 : step >= 1e5 ? 1 : step >= 1e4 ? 2 : step >= 1e3 ? 3 : 6;
  for (let time = Math.ceil(view.from / step) * step; time <= view.to; time += step) {
    const x = xOf(time);
    context.fillStyle = COLORS.rule;
    context.fillRect(x, RULER - 6, 1, height);
    context.fillStyle = COLORS.faint;
    context.fillText((time / 1e6).toFixed(digits) + "s", x + 3, 10);
  }
}

function drawNames(context) {
  context.textAlign = "left";
  for (const lane of lanes) {
    context.fillStyle = COLORS.paper;
    context.globalAlpha = 0.94;
    context.fillRect(0, lane.top, LEFT - 4, lane.height);
    context.globalAlpha = 1;
    context.fillStyle = COLORS.ink;
    context.font = (lane.kind === "client" ? "" : "600 ") + "12px system-ui, sans-serif";
    context.fillText(lane.name, 10, lane.top + lane.height / 2 - (lane.kind === "client" ? 0 : 7));
    if (lane.kind !== "client") {
      context.font = "10px system-ui, sans-serif";
      context.fillStyle = COLORS.faint;
      context.fillText(lane.kind === "server" ? "server" : "steps of the plan", 10, lane.top + lane.height / 2 + 8);
    }
    context.fillStyle = COLORS.rule;
    context.fillRect(0, lane.top + lane.height - 1, width, 1);
  }
  context.font = "11px system-ui, sans-serif";
}

/// First what lies below the messages, then what must be read in spite of them.
function drawBand(context, band, above) {
  const from = Math.max(xOf(band.from), LEFT), to = Math.min(xOf(band.to), width);
  if (to < LEFT || from > width) return;
  const lane = lanes[band.lane];
  let top = lane.top + 3, tall = 18;
  if (band.kind === "cut") { tall = lane.kind === "server" ? 12 : 4; top = lane.top + lane.height - tall - 3; }
  if (band.kind === "disk") { top = lane.top + lane.height - 29; tall = 12; }
  if (band.kind === "down" || band.kind === "paused") { top = lane.top + 2; tall = lane.height - 4; }
  const wide = Math.max(to - from, 1.5);
  const whole = band.kind === "down" || band.kind === "paused";
  const ink = COLORS[BAND_COLORS[band.kind]];
  context.fillStyle = ink;
  if (!above) {
    // A wash over the whole row, so that the role is seen from afar.
    context.globalAlpha = whole ? 0.26 : 0.1;
    if (whole) context.fillRect(from, top, wide, tall);
    else if (band.kind !== "cut" && band.kind !== "disk") context.fillRect(from, lane.top, wide, lane.height);
    context.globalAlpha = 1;
    return;
  }
  if (whole) hatch(context, from, top, wide, tall, ink);
  else {
    context.globalAlpha = 0.92;
    context.fillRect(from, top, wide, tall);
    context.globalAlpha = 1;
  }
  if (wide > 30 && tall > 8) label(context, band.text, from + 5, top + (whole ? 38 : tall / 2), wide - 8, whole ? COLORS.ink : "#fff");
  hits.push({ rank: 4, x0: from, x1: from + wide, y0: top, y1: top + tall, what: "band", of: band });
}

function hatch(context, x, y, wide, tall, ink) {
  context.save();
  context.beginPath();
  context.rect(x, y, wide, tall);
  context.clip();
  context.strokeStyle = ink;
  context.globalAlpha = 0.35;
  context.beginPath();
  for (let start = Math.floor((x - tall) / 9) * 9; start < x + wide; start += 9) {
    context.moveTo(start, y + tall);
    context.lineTo(start + tall, y);
  }
  context.stroke();
  context.restore();
}

function label(context, text, x, y, room, ink) {
  let shownText = text;
  const most = Math.floor(room / 5.6);
  if (most < 3) return;
  if (shownText.length > most) shownText = shownText.slice(0, most - 1) + "…";
  context.fillStyle = ink;
  context.textAlign = "left";
  context.fillText(shownText, x, y);
}

function drawArrows(context) {
  const first = firstAt(arrows, view.from - longestArrow, (arrow) => arrow.sent);
  const drawn = new Set();
  // Many messages are a texture, few are arrows.
  const last = firstAt(arrows, view.to, (arrow) => arrow.sent);
  const strong = last - first > 1500 ? 0.22 : last - first > 400 ? 0.4 : 0.75;
  for (let index = first; index < arrows.length && arrows[index].sent <= view.to; index++) {
    const arrow = arrows[index];
    if (!shown[ARROW_GROUPS[arrow.class]] || arrow.arrived < view.from) continue;
    const x0 = xOf(arrow.sent), y0 = lanes[arrow.from].middle;
    let x1 = xOf(arrow.arrived), y1 = lanes[arrow.to].middle;
    const lost = arrow.class === "lost";
    if (lost) { x1 = x0 + 10; y1 = y0 + (y1 - y0) * 0.4; }
    // Of those that would cover each other, one is enough.
    const key = arrow.from + " " + arrow.to + " " + arrow.class + " " + Math.round(x0 / 2) + " " + Math.round(x1 / 2);
    if (drawn.has(key)) continue;
    drawn.add(key);
    context.globalAlpha = matching === null ? (lost ? Math.max(strong, 0.6) : strong) : bright(arrow.line) ? 1 : 0.06;
    context.strokeStyle = context.fillStyle = COLORS[arrow.class];
    context.lineWidth = Math.min(1 + Math.log10(arrow.count), 3);
    context.setLineDash(lost ? [3, 2] : []);
    context.beginPath();
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
    context.stroke();
    context.setLineDash([]);
    if (lost) cross(context, x1, y1, 3.5);
    else if (drawn.size < 1500) head(context, x0, y0, x1, y1);
    hits.push({ rank: 3, x0, y0, x1, y1, what: "arrow", of: arrow, slanted: true });
  }
  context.globalAlpha = 1;
  context.lineWidth = 1;
}

function head(context, x0, y0, x1, y1) {
  const angle = Math.atan2(y1 - y0, x1 - x0);
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x1 - 6 * Math.cos(angle - 0.4), y1 - 6 * Math.sin(angle - 0.4));
  context.lineTo(x1 - 6 * Math.cos(angle + 0.4), y1 - 6 * Math.sin(angle + 0.4));
  context.fill();
}

function cross(context, x, y, size) {
  context.lineWidth = 1.6;
  context.beginPath();
  context.moveTo(x - size, y - size); context.lineTo(x + size, y + size);
  context.moveTo(x + size, y - size); context.lineTo(x - size, y + size);
  context.stroke();
  context.lineWidth = 1;
}

function drawSpan(context, span) {
  const lane = lanes[span.lane];
  const to = span.to === null ? end : span.to;
  if (!shown.statements || to < view.from || span.from > view.to) return;
  const from = xOf(span.from), wide = Math.max(xOf(to) - from, 2.5);
  context.globalAlpha = spanBright(span) ? (span.to === null ? 0.4 : 0.92) : 0.1;
  context.fillStyle = COLORS[OUTCOMES[span.outcome] || "up"];
  const tall = lane.kind === "server" ? 10 : 16;
  const top = lane.middle - tall / 2;
  context.fillRect(from, top, wide, tall);
  if (wide > 60) label(context, data.lines[span.line][3], from + 4, lane.middle, wide - 6, "#fff");
  context.globalAlpha = 1;
  hits.push({ rank: 2, x0: from, x1: from + wide, y0: top, y1: top + tall, what: "span", of: span });
}

const spanBright = (span) => matching === null || bright(span.line) || bright(span.end_line);

/// The operator's steps as flags, each written in the first of three rows that has room for it.
function drawSteps(context, steps) {
  if (!shown.steps) return;
  const written = [[], [], []];
  for (const span of steps) {
    const lane = lanes[span.lane], from = xOf(span.from), to = xOf(span.to === null ? end : span.to);
    if (to < LEFT || from > width) continue;
    const top = lane.top + 4, tall = lane.height - 8, wide = Math.max(to - from, 2);
    context.fillStyle = COLORS.ink;
    context.globalAlpha = spanBright(span) ? 0.15 : 0.05;
    context.fillRect(from, top, wide, tall);
    context.globalAlpha = spanBright(span) ? 0.9 : 0.1;
    context.fillRect(from, top, 2, tall);
    context.globalAlpha = 1;
    hits.push({ rank: 2, x0: from, x1: from + wide, y0: top, y1: top + tall, what: "span", of: span });
    const text = data.lines[span.line][3];
    const ends = written.map((row) => (row.length ? row[row.length - 1].end : 0));
    let row = ends.findIndex((end) => end <= from);
    if (row < 0) row = ends.indexOf(Math.min(...ends));
    const before = written[row][written[row].length - 1];
    if (before) before.room = Math.min(before.room, from - before.from - 8);
    written[row].push({ from, end: from + 12 + text.length * 5.6, text, room: width - from, bright: spanBright(span), lane });
  }
  written.forEach((row, index) => {
    for (const { from, text, room, bright: isBright, lane } of row) {
      context.globalAlpha = isBright ? 1 : 0.2;
      label(context, text, Math.max(from, LEFT) + 5, lane.top + 12 + index * 16, room - Math.max(0, LEFT - from), COLORS.ink);
    }
  });
  context.globalAlpha = 1;
}

function drawMarks(context) {
  const first = firstAt(data.marks, view.from, (mark) => lineTime(mark[0]));
  const taken = new Set();
  for (let at = first; at < data.marks.length; at++) {
    const [line, group] = data.marks[at];
    const time = lineTime(line);
    if (time > view.to) break;
    if (!shown[GROUPS[group]]) continue;
    const [, laneIndex, kind, details] = data.lines[line];
    const x = xOf(time), lane = lanes[laneIndex];
    const sign = signOf(kind, details, group);
    const key = laneIndex + " " + sign + " " + Math.round(x / 2);
    if (taken.has(key) && (matching === null || !matching.has(line))) continue;
    taken.add(key);
    context.globalAlpha = bright(line) ? 1 : 0.1;
    let y = lane.middle;
    if (sign === "sync") {
      y = lane.top + 27;
      context.fillStyle = COLORS.faint;
      context.fillRect(x, y - 3, 1, 6);
    } else if (sign === "root" || sign === "own root") {
      context.fillStyle = sign === "root" ? COLORS.standby : COLORS.primary;
      context.beginPath();
      context.moveTo(x, y - 5); context.lineTo(x + 5, y); context.lineTo(x, y + 5); context.lineTo(x - 5, y);
      context.fill();
    } else if (sign === "acknowledged") {
      context.strokeStyle = COLORS.cluster;
      context.beginPath();
      context.arc(x, y, 4, 0, 7);
      context.stroke();
    } else if (sign === "warn" || sign === "error") {
      y = lane.top + Math.min(36, lane.height / 2);
      context.fillStyle = sign === "warn" ? COLORS.disk : COLORS.cut;
      context.beginPath();
      context.moveTo(x, y - 6); context.lineTo(x + 5, y + 4); context.lineTo(x - 5, y + 4);
      context.fill();
    } else if (sign === "disk") {
      context.strokeStyle = COLORS.cut;
      cross(context, x, lane.top + lane.height - 22, 4);
      y = lane.top + lane.height - 22;
    } else {
      context.fillStyle = sign === "life" ? COLORS.ink : COLORS.faint;
      y = lane.kind === "client" ? lane.middle : lane.top + 36;
      context.fillRect(x - 1, y - 4, 2, 8);
    }
    hits.push({ rank: 1, x0: x - 5, x1: x + 5, y0: y - 6, y1: y + 6, what: "mark", of: line });
  }
  context.globalAlpha = 1;
}

function signOf(kind, details, group) {
  if (kind === "panic" || (kind === "log" && details.startsWith("error"))) return "error";
  if (kind === "log") return "warn";
  if (kind === "root") return details.includes(" committed ") ? "own root" : "root";
  if (kind === "acknowledged") return "acknowledged";
  return ["", "life", "", "", "", "disk", "", "", "sync", ""][group] || "other";
}

function drawChoice(context) {
  if (choice === null) return;
  context.fillStyle = COLORS.choice;
  context.globalAlpha = 0.8;
  context.fillRect(xOf(choice.time) - 1, RULER, 2, height);
  context.globalAlpha = 1;
}

// The whole run, small: roles and faults of each server as thin lines, and which part is shown below.
function drawOverview() {
  const context = fitCanvas(overview, width, 46);
  const x = (time) => LEFT + time / end * (width - LEFT);
  const rows = lanes.filter((lane) => lane.kind === "server");
  const tall = Math.max(3, Math.min(9, 36 / Math.max(1, rows.length)));
  for (const band of data.bands) {
    const row = rows.indexOf(lanes[band.lane]);
    if (row < 0) continue;
    context.fillStyle = COLORS[BAND_COLORS[band.kind]];
    const half = band.kind === "cut" || band.kind === "disk";
    context.fillRect(x(band.from), 5 + row * tall + (half ? tall / 2 : 0), Math.max(1, x(band.to) - x(band.from)), tall * (half ? 0.4 : 0.8));
  }
  context.fillStyle = COLORS.choice;
  for (const line of matchLines.slice(0, 2000)) context.fillRect(x(lineTime(line)), 0, 1, 46);
  if (data.failed_at !== null) {
    context.fillStyle = COLORS.check;
    context.fillRect(x(data.failed_at) - 1, 0, 2, 46);
  }
  context.strokeStyle = COLORS.ink;
  context.globalAlpha = 0.12;
  context.fillStyle = COLORS.ink;
  context.fillRect(LEFT, 0, x(view.from) - LEFT, 46);
  context.fillRect(x(view.to), 0, width - x(view.to), 46);
  context.globalAlpha = 1;
  context.strokeRect(x(view.from), 0.5, Math.max(3, x(view.to) - x(view.from)), 45);
  context.font = "10px system-ui, sans-serif";
  context.fillStyle = COLORS.faint;
  context.fillText("all of it", 10, 25);
}

function show(from, to) {
  const least = 50;
  let length = Math.min(Math.max(to - from, least), end * 1.04);
  let start = (from + to) / 2 - length / 2;
  start = Math.max(-end * 0.02, Math.min(start, end * 1.02 - length));
  view.from = start;
  view.to = start + length;
  redraw();
}

function zoom(factor, around) {
  const center = around === undefined ? (view.from + view.to) / 2 : around;
  show(center - (center - view.from) * factor, center + (view.to - center) * factor);
}

/// Brings a moment into sight without changing how much is shown, unless that is all.
function goTo(time) {
  let length = view.to - view.from;
  if (length > end / 4) length = Math.min(length, Math.max(end / 20, 1e6));
  show(time - length / 2, time + length / 2);
}

function hitAt(x, y) {
  let best = null, bestScore = 1e9;
  for (const hit of hits) {
    let away;
    if (hit.slanted) {
      const dx = hit.x1 - hit.x0, dy = hit.y1 - hit.y0;
      const part = Math.max(0, Math.min(1, ((x - hit.x0) * dx + (y - hit.y0) * dy) / (dx * dx + dy * dy || 1)));
      away = Math.hypot(x - hit.x0 - part * dx, y - hit.y0 - part * dy);
    } else {
      away = Math.hypot(Math.max(hit.x0 - x, 0, x - hit.x1), Math.max(hit.y0 - y, 0, y - hit.y1));
    }
    const score = away * 10 + hit.rank;
    if (away <= 6 && score < bestScore) { best = hit; bestScore = score; }
  }
  return best;
}

function describe(hit) {
  const of = hit.of;
  if (hit.what === "mark") return { time: lineTime(of), line: of, rows: [], text: lineText(of), lane: data.lines[of][1] };
  if (hit.what === "span") {
    const rows = [["from", moment(of.from)], ["to", of.to === null ? "it never returned" : moment(of.to)]];
    if (of.to !== null) rows.push(["took", ((of.to - of.from) / 1000).toFixed(1) + " ms"]);
    const answer = of.end_line === null ? "" : "\n" + lineText(of.end_line);
    return { time: of.from, line: of.line, rows, text: lineText(of.line) + answer, lane: of.lane };
  }
  if (hit.what === "band") {
    const rows = [["from", moment(of.from)], ["to", moment(of.to)]];
    return { time: of.from, line: null, rows, text: of.text, lane: of.lane };
  }
  const many = of.count > 1 ? of.count + " messages, " : "";
  const names = lanes[of.from].name + " to " + lanes[of.to].name;
  const rows = [["sent", moment(of.sent)], of.class === "lost" ? ["arrived", "never"] : ["arrived", moment(of.arrived)],
    ["connection", of.connection]];
  const kind = { cluster: "between servers", sql: "with a client", lost: "lost" }[of.class];
  return { time: of.sent, line: of.line, rows, text: names + ": " + many + of.bytes + " bytes (" + kind + ")", lane: of.from };
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function choose(described) {
  choice = described;
  const detail = byId("detail");
  detail.replaceChildren();
  const list = element("dl");
  for (const [name, value] of [["who", lanes[described.lane].name], ["when", moment(described.time)], ...described.rows]) {
    list.append(element("dt", name), element("dd", value));
  }
  detail.append(list, element("div", described.text, "text"));
  showAround(described);
  redraw();
}

/// The trace around what was chosen, all lanes together.
function showAround(described) {
  const around = byId("around");
  around.replaceChildren(element("h2", "Around it"));
  const center = described.line === null || described.line === undefined ? firstAt(data.lines, described.time, (line) => line[0]) : described.line;
  let chosen = null;
  for (let index = Math.max(0, center - 25); index < Math.min(data.lines.length, center + 40); index++) {
    const [time, lane] = data.lines[index];
    const row = element("div");
    row.append(element("b", moment(time) + " " + lanes[lane].name + " "), lineText(index));
    row.onclick = () => chooseLine(index);
    if (index === center) { row.className = "chosen"; chosen = row; }
    around.append(row);
  }
  if (chosen && chosen.scrollIntoView) chosen.scrollIntoView({ block: "nearest" });
}

function chooseLine(index) {
  const time = lineTime(index);
  if (time < view.from || time > view.to) goTo(time);
  choose({ time, line: index, rows: [], text: lineText(index), lane: data.lines[index][1] });
}

function search(text) {
  query = text.trim().toLowerCase();
  matchLines = [];
  matching = null;
  if (query) {
    data.lines.forEach((line, index) => {
      const whole = lanes[line[1]].name + " " + line[2] + " " + line[3];
      if (whole.toLowerCase().includes(query)) matchLines.push(index);
    });
    matching = new Set(matchLines);
  }
  byId("matches").textContent = query ? matchLines.length + (matchLines.length === 1 ? " match" : " matches") : "";
  redraw();
}

function nextMatch(step) {
  if (!matchLines.length) return;
  const now = choice && choice.line !== null && choice.line !== undefined ? choice.line : step > 0 ? -1 : Infinity;
  const after = step > 0 ? matchLines.find((line) => line > now) : matchLines.filter((line) => line < now).pop();
  chooseLine(after !== undefined ? after : matchLines[step > 0 ? 0 : matchLines.length - 1]);
}

function makeGroups() {
  const present = new Set(data.marks.map((mark) => GROUPS[mark[1]]));
  if (spans.some((span) => lanes[span.lane].kind === "operator")) present.add("steps");
  if (spans.some((span) => lanes[span.lane].kind !== "operator")) present.add("statements");
  for (const arrow of arrows) present.add(ARROW_GROUPS[arrow.class]);
  for (const name of [...Object.values(ARROW_GROUPS), ...GROUPS]) {
    shown[name] = !OFF_AT_FIRST.includes(name);
    if (!present.has(name)) continue;
    const box = element("input");
    box.type = "checkbox";
    box.checked = shown[name];
    box.onchange = () => { shown[name] = box.checked; redraw(); };
    const labelElement = element("label");
    labelElement.append(box, " " + name);
    byId("groups").append(labelElement);
  }
  const notes = [];
  if (data.arrows_within > 0) notes.push("messages of one connection within " + data.arrows_within / 1000 + " ms are drawn as one");
  if (data.lines.length < data.all_lines) notes.push("of " + data.all_lines + " lines, packets and syncs are left out");
  if (notes.length) byId("groups").append(element("span", "(" + notes.join("; ") + ")"));
}

function toFailure() {
  if (data.failed_at === null) return;
  goTo(data.failed_at);
  const line = Math.max(0, Math.min(firstAt(data.lines, data.failed_at, (line) => line[0]), data.lines.length - 1));
  choose({ time: data.failed_at, line, rows: [], text: data.failure, lane: data.lines[line][1] });
}

function begin() {
  document.title = data.title;
  byId("title").textContent = data.title;
  const verdict = byId("verdict");
  if (data.failure !== null) {
    verdict.textContent = data.failure;
    verdict.title = data.failure;
    verdict.className = "failed";
    byId("failure").hidden = false;
    byId("failure").querySelector("p").textContent = data.failure;
    for (const found of new Set(data.failure.match(/\d+\.\d{6}s/g) || [])) {
      const button = element("button", found);
      button.title = "A moment that the failed check names";
      button.onclick = () => goTo(parseFloat(found) * 1e6);
      byId("moments").append(button);
    }
  } else {
    verdict.textContent = data.plan.length ? "passed" : "";
    verdict.hidden = !data.plan.length;
    byId("to-failure").hidden = true;
  }
  byId("plan").querySelector("pre").textContent = data.plan.join("\n");
  byId("plan-button").hidden = !data.plan.length;
  makeGroups();
  listen();
  show(0, end);
}

function listen() {
  const toggle = (id) => () => { byId(id).hidden = !byId(id).hidden; };
  byId("help-button").onclick = toggle("help");
  byId("plan-button").onclick = toggle("plan");
  byId("fit").onclick = () => show(0, end * 1.02);
  byId("in").onclick = () => zoom(0.5);
  byId("out").onclick = () => zoom(2);
  byId("to-failure").onclick = toFailure;
  byId("search").oninput = (event) => search(event.target.value);
  byId("search").onkeydown = (event) => { if (event.key === "Enter") nextMatch(event.shiftKey ? -1 : 1); };
  byId("next").onclick = () => nextMatch(1);
  byId("previous").onclick = () => nextMatch(-1);
  window.addEventListener("resize", redraw);

  canvas.addEventListener("wheel", (event) => {
    if (event.altKey) return;
    event.preventDefault();
    const x = event.offsetX;
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan(event.deltaX);
    else zoom(Math.exp(event.deltaY * 0.0015), timeOf(x));
  }, { passive: false });

  const pan = (pixels) => {
    const by = pixels / (width - LEFT) * (view.to - view.from);
    show(view.from + by, view.to + by);
  };
  let drag = null;
  canvas.addEventListener("mousedown", (event) => {
    drag = { x: event.offsetX, last: event.offsetX, moved: false, select: event.shiftKey };
  });
  window.addEventListener("mousemove", (event) => {
    const x = event.clientX - canvas.getBoundingClientRect().left;
    if (drag) {
      drag.moved = drag.moved || Math.abs(x - drag.x) > 4;
      if (drag.moved && !drag.select) pan(drag.last - x);
      drag.last = x;
    }
  });
  window.addEventListener("mouseup", (event) => {
    if (!drag) return;
    const done = drag;
    drag = null;
    if (!done.moved) {
      const hit = hitAt(event.offsetX, event.offsetY);
      if (hit && event.target === canvas) choose(describe(hit));
    } else if (done.select) {
      const [a, b] = [timeOf(done.x), timeOf(done.last)];
      show(Math.min(a, b), Math.max(a, b));
    }
  });
  const tip = byId("tip");
  canvas.addEventListener("mousemove", (event) => {
    const hit = drag ? null : hitAt(event.offsetX, event.offsetY);
    tip.hidden = !hit;
    if (!hit) return;
    const described = describe(hit);
    tip.textContent = moment(described.time) + "  " + described.text.slice(0, 300);
    const box = byId("picture").getBoundingClientRect();
    tip.style.left = Math.min(event.clientX - box.left + 14, box.width - 260) + "px";
    tip.style.top = event.clientY - box.top + 16 + "px";
  });
  canvas.addEventListener("mouseleave", () => { tip.hidden = true; });
  const jump = (event) => {
    const time = (event.offsetX - LEFT) / (width - LEFT) * end;
    const half = (view.to - view.from) / 2;
    show(time - half, time + half);
  };
  overview.addEventListener("mousedown", jump);
  overview.addEventListener("mousemove", (event) => { if (event.buttons) jump(event); });

  window.addEventListener("keydown", (event) => {
    if (event.target.tagName === "INPUT" && event.target.type === "search") return;
    const step = (width - LEFT) / 5;
    const keys = { "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), ArrowLeft: () => pan(-step), ArrowRight: () => pan(step),
      f: () => show(0, end * 1.02), c: toFailure, n: () => nextMatch(1), p: () => nextMatch(-1) };
    const act = keys[event.key];
    if (act && !event.ctrlKey && !event.metaKey) { act(); event.preventDefault(); }
  });
}

begin();
