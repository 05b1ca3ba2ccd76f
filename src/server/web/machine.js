// The machine at work: figures, memory, and which experts are where.

import {status} from "./api.js";
import {$, element, size} from "./dom.js";

const INTERVAL_MS = 1000;
const HIDDEN_INTERVAL_MS = 5000;
const HISTORY = 60;
const MAP_COLUMNS_MAX = 128;
const SQUARE = 4;  // pixels, one of them a gap

// Parts of the plan. Of those with `used` the server knows how much is in use.
const PARTS = [
  {key: "dense_bytes", name: "dense weights", color: "#2563eb"},
  {key: "expert_bytes", name: "experts", color: "#16a34a"},
  {key: "kv_bytes", name: "keys and values", color: "#9333ea"},
  {key: "recurrent_bytes", name: "recurrent state", color: "#c026d3"},
  {key: "prefix_bytes", name: "prompts seen before", color: "#d97706"},
  {key: "request_bytes", name: "requests", color: "#be185d"},
  {key: "buffer_bytes", name: "buffers", color: "#78716c"},
  {key: "process_bytes", name: "program", color: "#0891b2"},
];

const rates = [];
const hitRates = [];
let before = null;
let map = [];

function keep(list, value) {
  list.push(value);
  if (list.length > HISTORY) list.shift();
}

function drawLine(canvas, values, top) {
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.strokeStyle = getComputedStyle(canvas).color;
  pen.lineWidth = 1.5;
  pen.beginPath();
  values.forEach((value, i) => {
    const x = i * canvas.width / (HISTORY - 1);
    const y = canvas.height - 2 - (canvas.height - 4) * (top > 0 ? value / top : 0);
    if (i === 0) pen.moveTo(x, y);
    else pen.lineTo(x, y);
  });
  pen.stroke();
}

/** What is planned for each part, and in full colour what of it is in use. */
function showMemory(memory) {
  const {budget_bytes: budget, resident_bytes: resident, used} = memory;
  $("memory-text").textContent = `${size(resident)} in use of a budget of ${size(budget)}`;
  const parts = PARTS.filter(({key}) => memory[key] > 0);
  const percent = (bytes, of) => `${100 * Math.min(1, bytes / of)}%`;
  $("memory").replaceChildren(...parts.map(({key, color}) => {
    const filled = element("b");
    filled.style.width = percent(used[key] ?? 0, memory[key]);
    const part = element("i", {}, filled);
    part.style.color = color;
    part.style.width = percent(memory[key], budget);
    return part;
  }));
  $("memory-legend").replaceChildren(...parts.map(({key, name, color}) => {
    const square = element("i");
    square.style.background = color;
    return element("tr", {}, element("th", {scope: "row"}, square, name),
        element("td", {}, used[key] === undefined ? "" : size(used[key])),
        element("td", {}, size(memory[key])));
  }));
  $("memory-mark").style.left = percent(resident, budget);
}

/** Colours that the legend has, so that the style sheet alone knows them. */
function mapColors() {
  const of = (name) => getComputedStyle(document.querySelector(`#map-legend .${name}`)).backgroundColor;
  return {absent: of("absent"), resident: of("resident")};
}

function squareColor(letter, colors) {
  if (letter === ".") return colors.absent;
  if (letter === "r") return colors.resident;
  const isMissed = letter < "a";
  const heat = letter.toLowerCase().charCodeAt(0) - 97;  // 0 to 8
  return isMissed ? `hsl(0 72% ${62 - 3 * heat}%)` : `hsl(142 ${45 + 4 * heat}% ${58 - 3.5 * heat}%)`;
}

/** Long layers are broken into lines, so that squares stay square enough to point at. */
function mapShape() {
  const experts = map.length ? map[0].length : 0;
  const columns = Math.min(experts, MAP_COLUMNS_MAX);
  return {columns, lines: columns ? Math.ceil(experts / columns) : 0};
}

function showMap() {
  const canvas = $("map");
  const {columns, lines} = mapShape();
  if (!columns) return;
  const layerHeight = lines * SQUARE + 1;
  canvas.width = columns * SQUARE;
  canvas.height = map.length * layerHeight;
  const pen = canvas.getContext("2d");
  const colors = mapColors();
  map.forEach((layer, l) => {
    for (let e = 0; e < layer.length; ++e) {
      pen.fillStyle = squareColor(layer[e], colors);
      pen.fillRect(e % columns * SQUARE, l * layerHeight + Math.floor(e / columns) * SQUARE, SQUARE - 1, SQUARE - 1);
    }
  });
}

function describeSquare(event) {
  const {columns, lines} = mapShape();
  if (!columns) return;
  const box = $("map").getBoundingClientRect();
  const x = Math.floor((event.clientX - box.left) / box.width * columns);
  const y = (event.clientY - box.top) / box.height * map.length;
  const layer = Math.min(map.length - 1, Math.floor(y));
  const expert = Math.min(lines - 1, Math.floor((y - layer) * lines)) * columns + x;
  const letter = map[layer]?.[expert];
  if (!letter) return;
  let state = "used of late, from memory";
  if (letter === ".") state = "on disk";
  else if (letter === "r") state = "in memory, not used of late";
  else if (letter < "a") state = "used of late, and read for it";
  $("map-detail").textContent = `Layer ${layer}, expert ${expert}: ${state}`;
}

/** Figures over the time since the last look. */
function showRates(now) {
  const seconds = (now.time - before.time) / 1000;
  const since = (group, key) => now[group][key] - before[group][key];
  const tokens = since("requests", "generated_tokens");
  const hits = since("experts", "hits");
  const uses = hits + since("experts", "misses");
  keep(rates, tokens / seconds);
  $("rate").textContent = (tokens / seconds).toFixed(1);
  if (uses > 0) {
    keep(hitRates, hits / uses);
    $("hit-rate").textContent = `${(100 * hits / uses).toFixed(1)} %`;
  }
  if (tokens > 0) $("read").textContent = size(since("experts", "bytes_read") / tokens);
  $("stall").textContent = `${(100 * since("experts", "wait_seconds") / seconds).toFixed(0)} %`;
  drawLine($("rate-line"), rates, Math.max(...rates));
  drawLine($("hit-line"), hitRates, 1);
}

function show(now) {
  $("model").textContent = now.model;
  $("model").title = now.model;
  $("approximate").hidden = !now.is_approximate;
  if (before) showRates(now);
  const {experts, requests} = now;
  $("queue").textContent = `${requests.running} of ${requests.places}, ${requests.waiting}`;
  $("cached").textContent = requests.prompt_tokens
      ? `${(100 * requests.cached_tokens / requests.prompt_tokens).toFixed(0)} %` : "–";
  $("experts-text").textContent =
      `${experts.resident} in memory, room for ${experts.slots} of ${experts.count}`;
  showMemory(now.memory);
  map = now.map;
  showMap();
  before = now;
}

async function look() {
  try {
    show({...await status(), time: performance.now()});
    $("trouble").hidden = true;
  } catch (failure) {
    $("trouble").textContent = failure instanceof TypeError ? "The server does not answer." : failure.message;
    $("trouble").hidden = false;
  }
  setTimeout(look, document.hidden ? HIDDEN_INTERVAL_MS : INTERVAL_MS);
}

/** Looks at the machine now, and every second from then on. */
export function watchMachine() {
  $("map").addEventListener("mousemove", describeSquare);
  look();
}
