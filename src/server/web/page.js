"use strict";
const $ = (id) => document.getElementById(id);
const GIB = 1024 ** 3;

// What has been said, as the API wants it.
let messages = [];
let running = null;  // AbortController of the answer that is coming

function headers() {
  const key = $("key").value;
  return {"Content-Type": "application/json", ...(key ? {Authorization: "Bearer " + key} : {})};
}

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function size(bytes) {
  if (bytes >= GIB) return (bytes / GIB).toFixed(2) + " GiB";
  if (bytes >= 1024 ** 2) return (bytes / 1024 ** 2).toFixed(1) + " MiB";
  return (bytes / 1024).toFixed(1) + " KiB";
}

/* ---- chat ---- */

function addMessage(role) {
  const node = element("div", "message " + role);
  node.append(element("div", "who", role === "user" ? "You" : role === "tool" ? "Result" : "Model"));
  $("messages").append(node);
  return node;
}

/** Text with code between fences set apart. Nothing in it is taken for HTML. */
function showText(node, text) {
  node.replaceChildren();
  text.split(/^```.*$/m).forEach((part, i) => {
    if (i % 2 === 1) {
      node.append(element("pre", "", part.replace(/^\n/, "").replace(/\n$/, "")));
    } else if (part) {
      node.append(document.createTextNode(part));
    }
  });
}

function atEnd() {
  const box = $("messages");
  return box.scrollHeight - box.scrollTop - box.clientHeight < 60;
}

function number(id) {
  const value = $(id).value.trim();
  return value === "" ? undefined : Number(value);
}

function requestBody() {
  const body = {messages: [...messages], stream: true, stream_options: {include_usage: true}};
  const system = $("system").value.trim();
  if (system) body.messages.unshift({role: "system", content: system});
  for (const name of ["temperature", "top_p", "max_tokens", "seed"]) {
    if (number(name) !== undefined) body[name] = number(name);
  }
  const tools = $("tools").value.trim();
  if (tools) body.tools = JSON.parse(tools);
  return body;
}

/** The objects of an event stream, as they come. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (true) {
    const {done, value} = await reader.read();
    if (done) return;
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const data = text.slice(0, end).split("\n").filter((line) => line.startsWith("data: "))
          .map((line) => line.slice(6)).join("\n");
      text = text.slice(end + 2);
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

async function answer() {
  const node = addMessage("assistant");
  const thought = element("div", "thought");
  const text = element("div", "text");
  node.append(thought, text);
  thought.hidden = true;
  const reply = {role: "assistant", content: ""};
  let reasoning = "";
  const calls = [];
  let last = null;
  let finish = null;
  setRunning(new AbortController());
  try {
    const response = await fetch("/v1/chat/completions",
        {method: "POST", headers: headers(), body: JSON.stringify(requestBody()), signal: running.signal});
    if (!response.ok) throw new Error((await response.json()).error.message);
    for await (const event of events(response)) {
      if (event.error) throw new Error(event.error.message);
      const stay = atEnd();
      if (event.usage) last = event;
      for (const choice of event.choices) {
        finish = choice.finish_reason || finish;
        const delta = choice.delta;
        if (delta.reasoning_content) {
          reasoning += delta.reasoning_content;
          thought.hidden = false;
          thought.textContent = reasoning;
        }
        if (delta.content) {
          reply.content += delta.content;
          showText(text, reply.content);
        }
        for (const part of delta.tool_calls || []) {
          if (!calls[part.index]) {
            calls[part.index] = {id: part.id, type: "function", function: {name: part.function.name, arguments: ""}};
            calls[part.index].node = addCall(node, calls[part.index]);
          }
          const call = calls[part.index];
          call.function.arguments += part.function.arguments || "";
          call.node.querySelector("code").textContent = call.function.arguments;
        }
      }
      if (stay) $("messages").scrollTop = $("messages").scrollHeight;
    }
  } catch (failure) {
    if (failure.name !== "AbortError") node.append(element("div", "error", failure.message));
  }
  setRunning(null);
  if (last) {
    const t = last.timings;
    node.append(element("div", "cost",
        `${last.usage.completion_tokens} tokens, ${t.predicted_per_second.toFixed(1)}/s · prompt ` +
        `${last.usage.prompt_tokens}, ${last.usage.prompt_tokens_details.cached_tokens} known · ` +
        `${(100 * t.expert_hit_rate).toFixed(1)} % hits · ${size(t.expert_bytes_read)} read` +
        (finish === "length" ? " · cut off" : "")));
  }
  if (reply.content || calls.length) {
    if (calls.length) reply.tool_calls = calls.map(({node: _, ...call}) => call);
    if (reasoning) reply.reasoning_content = reasoning;
    messages.push(reply);
  }
  for (const call of calls) askForResult(call);
}

function addCall(parent, call) {
  const node = element("div", "call");
  node.append(element("span", "", "calls "), element("b", "", call.function.name), element("code"));
  parent.append(node);
  return node;
}

/** Whoever uses the page plays the tool. */
function askForResult(call) {
  const row = element("form", "row");
  const input = element("input");
  input.placeholder = "What the tool answers";
  input.setAttribute("aria-label", "Result of " + call.function.name);
  const button = element("button", "", "Give result");
  row.append(input, button);
  row.addEventListener("submit", (event) => {
    event.preventDefault();
    row.remove();
    messages.push({role: "tool", tool_call_id: call.id, name: call.function.name, content: input.value});
    addMessage("tool").append(element("div", "text", input.value));
    if (!document.querySelector(".call form")) answer();
  });
  call.node.append(row);
  input.focus();
}

function setRunning(controller) {
  running = controller;
  $("send").textContent = controller ? "Stop" : "Send";
}

function send() {
  if (running) return running.abort();
  const content = $("input").value.trim();
  if (!content) return;
  $("input").value = "";
  messages.push({role: "user", content});
  showText(addMessage("user").appendChild(element("div", "text")), content);
  $("messages").scrollTop = $("messages").scrollHeight;
  answer();
}

function forget() {
  if (running) running.abort();
  messages = [];
  $("messages").replaceChildren();
  $("input").focus();
}

$("compose").addEventListener("submit", (event) => { event.preventDefault(); send(); });
$("input").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && running) running.abort();
  if (event.key.toLowerCase() === "o" && event.ctrlKey && event.shiftKey) { event.preventDefault(); forget(); }
});
$("new").addEventListener("click", forget);
$("toggle-settings").addEventListener("click", () => {
  $("settings").hidden = !$("settings").hidden;
  $("toggle-settings").setAttribute("aria-expanded", String(!$("settings").hidden));
});
$("settings").addEventListener("submit", (event) => event.preventDefault());
$("key").value = sessionStorage.getItem("key") || "";
$("key").addEventListener("change", () => sessionStorage.setItem("key", $("key").value));

/* ---- the machine ---- */

const PARTS = [["dense_bytes", "dense weights", "#2563eb"], ["expert_bytes", "experts", "#16a34a"],
  ["kv_bytes", "keys and values", "#9333ea"], ["recurrent_bytes", "recurrent state", "#c026d3"],
  ["prefix_bytes", "prompts seen before", "#d97706"], ["buffer_bytes", "buffers", "#78716c"], ["process_bytes", "program", "#0891b2"]];
const rates = [];
const hitRates = [];
let before = null;
let map = [];

function line(canvas, values, top) {
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.strokeStyle = getComputedStyle(document.body).getPropertyValue("--accent");
  pen.lineWidth = 1.5;
  pen.beginPath();
  values.forEach((value, i) => {
    const x = i * canvas.width / 59;
    const y = canvas.height - 2 - (canvas.height - 4) * (top > 0 ? value / top : 0);
    i === 0 ? pen.moveTo(x, y) : pen.lineTo(x, y);
  });
  pen.stroke();
}

function keep(list, value) {
  list.push(value);
  if (list.length > 60) list.shift();
}

function showMemory(memory) {
  $("memory-text").textContent = `${size(memory.resident_bytes)} in use, budget ${size(memory.budget_bytes)}`;
  $("memory").replaceChildren(...PARTS.map(([key, , color]) => {
    const part = element("i");
    part.style.background = color;
    part.style.width = 100 * memory[key] / memory.budget_bytes + "%";
    return part;
  }));
  $("memory-legend").replaceChildren(...PARTS.filter(([key]) => memory[key] > 0).map(([key, name, color]) => {
    const item = element("li");
    const square = element("i");
    square.style.background = color;
    item.append(square, `${name} ${size(memory[key])}`);
    return item;
  }));
}

function color(letter, style) {
  if (letter === ".") return style.getPropertyValue("--absent");
  if (letter === "r") return style.getPropertyValue("--resident");
  const missed = letter < "a";
  const heat = letter.toLowerCase().charCodeAt(0) - 97;  // 0 to 8
  return missed ? `hsl(0 72% ${62 - 3 * heat}%)` : `hsl(142 ${45 + 4 * heat}% ${58 - 3.5 * heat}%)`;
}

/** Long layers are broken into lines, so that squares stay square enough to point at. */
function mapShape() {
  const experts = map.length ? map[0].length : 0;
  const columns = Math.min(experts, 128);
  return {columns, lines: columns ? Math.ceil(experts / columns) : 0};
}

function showMap() {
  const canvas = $("map");
  const {columns, lines} = mapShape();
  if (!columns) return;
  const gap = 1;
  canvas.width = columns * 4;
  canvas.height = map.length * (lines * 4 + gap);
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  const style = getComputedStyle(document.body);
  map.forEach((layer, l) => {
    for (let e = 0; e < layer.length; ++e) {
      pen.fillStyle = color(layer[e], style);
      pen.fillRect(e % columns * 4, l * (lines * 4 + gap) + Math.floor(e / columns) * 4, 3, 3);
    }
  });
}

$("map").addEventListener("mousemove", (event) => {
  const {columns, lines} = mapShape();
  if (!columns) return;
  const box = $("map").getBoundingClientRect();
  const x = Math.floor((event.clientX - box.left) / box.width * columns);
  const y = (event.clientY - box.top) / box.height * map.length;
  const layer = Math.min(map.length - 1, Math.floor(y));
  const expert = Math.min(lines - 1, Math.floor((y - layer) * lines)) * columns + x;
  const letter = (map[layer] || "")[expert];
  if (!letter) return;
  const state = letter === "." ? "on disk" : letter === "r" ? "in memory, not used of late"
      : letter < "a" ? "used of late, and read for it" : "used of late, from memory";
  $("map-detail").textContent = `Layer ${layer}, expert ${expert}: ${state}`;
});

function show(status) {
  $("model").textContent = status.model;
  $("approximate").hidden = !status.is_approximate;
  const {experts, requests, memory} = status;
  if (before) {
    const seconds = (status.time - before.time) / 1000;
    const tokens = requests.generated_tokens - before.requests.generated_tokens;
    const hits = experts.hits - before.experts.hits;
    const misses = experts.misses - before.experts.misses;
    const bytes = experts.bytes_read - before.experts.bytes_read;
    keep(rates, tokens / seconds);
    $("rate").textContent = (tokens / seconds).toFixed(1);
    if (hits + misses > 0) {
      keep(hitRates, hits / (hits + misses));
      $("hit-rate").textContent = (100 * hits / (hits + misses)).toFixed(1) + " %";
    }
    if (tokens > 0) $("read").textContent = size(bytes / tokens);
    $("stall").textContent =
        (100 * (experts.wait_seconds - before.experts.wait_seconds) / seconds).toFixed(0) + " %";
    line($("rate-line"), rates, Math.max(...rates));
    line($("hit-line"), hitRates, 1);
  }
  $("queue").textContent = `${requests.running} of ${requests.places}, ${requests.waiting}`;
  $("cached").textContent = requests.prompt_tokens
      ? (100 * requests.cached_tokens / requests.prompt_tokens).toFixed(0) + " %" : "–";
  $("experts-text").textContent = `${experts.slots} of ${experts.count} fit in memory`;
  showMemory(memory);
  map = status.map;
  showMap();
  before = status;
}

async function look() {
  try {
    const response = await fetch("/v1/cache/status?map=1", {headers: headers()});
    if (!response.ok) throw new Error((await response.json()).error.message);
    show({...await response.json(), time: performance.now()});
    $("trouble").hidden = true;
  } catch (failure) {
    $("trouble").textContent = failure instanceof TypeError ? "The server does not answer." : failure.message;
    $("trouble").hidden = false;
  }
  setTimeout(look, document.hidden ? 5000 : 1000);
}
look();
