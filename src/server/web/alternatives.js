// What a token could have been: shown where the pointer is, or where the arrow keys have gone.
//
// A message has `tokens`: {at, text, logprob, top: [[text, logprob], ...]}, `at` being where the
// token begins in the message's content. What is on the page is that content without Markdown's
// marks, so both are aligned, block by block, when they are first asked for.

import {$, element} from "./dom.js";

// How far the content may run ahead of what is known, or what is shown behind the content.
const TOKEN_GAP_MAX = 16;
const MARKUP_MAX = 400;

/** Gathers tokens, as an answer comes with them, and finds where in its content they are. */
export class TokenRun {
  #pending = [];
  #cursor = 0;
  #decoder = new TextDecoder();

  constructor(tokens) {
    this.tokens = tokens;
  }

  /** `entries`: logprobs.content of a chunk; `content`: all there is so far. */
  add(entries, content) {
    for (const {token, bytes, logprob, top_logprobs: top} of entries) {
      // A character may take several tokens: the last of them has it.
      const text = bytes ? this.#decoder.decode(new Uint8Array(bytes), {stream: true}) : token;
      this.#pending.push({text, logprob, top: (top ?? []).map((other) => [other.token, other.logprob])});
    }
    while (this.#pending.length > 0 && this.#place(this.#pending[0], content)) this.#pending.shift();
  }

  /** False: wait for more content. A token that is no content (a mark, a call) is let go of. */
  #place(token, content) {
    const rest = content.slice(this.#cursor);
    for (const text of [token.text, token.text.trimStart()]) {
      if (text === "") continue;
      const gap = rest.slice(0, TOKEN_GAP_MAX + text.length).indexOf(text);
      if (gap < 0) continue;
      this.tokens.push({...token, text, at: this.#cursor + gap});
      this.#cursor += gap + text.length;
      return true;
    }
    return !token.text.startsWith(rest) || token.text === "";
  }
}

/**
 * For each character of `shown`, where it stands in `source`; -1 for what is not there. `shown` is
 * `source` with marks left out. After a gap the longest run that fits goes first, so that "print" of
 * "```python\nprint" is not taken from "python".
 */
export function align(source, shown) {
  const positions = new Int32Array(shown.length).fill(-1);
  let at = 0;
  for (let i = 0; i < shown.length; ++i) {
    if (source[at] !== shown[i]) {
      const ahead = source.slice(at, at + MARKUP_MAX);
      const found = [12, 6, 3, 1].map((length) => ahead.indexOf(shown.slice(i, i + length)))
          .find((gap) => gap >= 0);
      if (found === undefined) continue;
      at += found;
    }
    positions[i] = at++;
  }
  return positions;
}

/** Text nodes of a block, without those of its buttons and captions. */
function textNodes(node) {
  const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT,
      (text) => text.parentElement.closest("figcaption") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  return nodes;
}

/** Index of the last token that begins at or before `at`, or -1. */
function tokenAt(tokens, at) {
  let low = 0;
  let high = tokens.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (tokens[middle].at <= at) low = middle + 1;
    else high = middle;
  }
  const token = tokens[low - 1];
  return token && at < token.at + token.text.length ? low - 1 : -1;
}

function caretAt(x, y) {
  if (document.caretPositionFromPoint) {
    const caret = document.caretPositionFromPoint(x, y);
    return caret && [caret.offsetNode, caret.offset];
  }
  const range = document.caretRangeFromPoint(x, y);
  return range && [range.startContainer, range.startOffset];
}

/** Lets the tokens of one message be looked at. */
export class TokenView {
  #view;
  #tokens;
  #maps = new WeakMap();
  #current = -1;

  /** `view`: the MarkdownView that shows the message's content. */
  constructor(view, tokens) {
    this.#view = view;
    this.#tokens = tokens;
    const {node} = view;
    node.tabIndex = 0;
    node.setAttribute("aria-label", "Answer. Arrow keys show each token's alternatives.");
    node.addEventListener("mousemove", (event) => this.#point(event));
    node.addEventListener("click", (event) => this.#point(event));
    node.addEventListener("mouseleave", () => this.#hide());
    node.addEventListener("blur", () => this.#hide());
    node.addEventListener("keydown", (event) => this.#walk(event));
  }

  #point(event) {
    const caret = caretAt(event.clientX, event.clientY);
    const block = caret && this.#view.blocks.find(({node}) => node.contains(caret[0]));
    if (!block) return this.#hide();
    const {nodes, positions} = this.#map(block);
    let shown = 0;
    for (const node of nodes) {
      if (node !== caret[0]) {
        shown += node.length;
        continue;
      }
      // The caret is between two characters: the one under the pointer is on either side.
      for (const offset of [caret[1], caret[1] - 1]) {
        const source = positions[shown + offset];
        if (offset < 0 || offset >= node.length || source === undefined || source < 0) continue;
        const index = tokenAt(this.#tokens, block.start + source);
        const range = index >= 0 && this.#range(index, block);
        if (range && contains(range, event)) return this.#show(index, range);
      }
    }
    this.#hide();
  }

  #walk(event) {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (event.target !== this.#view.node) return;
    if (event.key === "Escape") return this.#hide();
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    // Some tokens are marks that the page does not show.
    for (let i = this.#current + step; i >= 0 && i < this.#tokens.length; i += step) {
      const {at} = this.#tokens[i];
      const block = this.#view.blocks.findLast(({start}) => start <= at);
      const range = block && this.#range(i, block);
      if (!range) continue;
      this.#show(i, range);
      range.startContainer.parentElement.scrollIntoView({block: "nearest"});
      return;
    }
  }

  /** Where the characters of a block's text nodes stand in its source. */
  #map(block) {
    const known = this.#maps.get(block);
    const nodes = textNodes(block.node);
    if (known?.raw === block.raw) return {...known, nodes};
    const positions = align(block.raw, nodes.map(({data}) => data).join(""));
    this.#maps.set(block, {raw: block.raw, positions});
    return {nodes, positions};
  }

  /** What of a token is on the page. */
  #range(index, block) {
    const token = this.#tokens[index];
    const begin = token.at - block.start;
    const end = begin + token.text.length;
    const {nodes, positions} = this.#map(block);
    const range = document.createRange();
    let isThere = false;
    let shown = 0;
    for (const node of nodes) {
      for (let i = 0; i < node.length; ++i) {
        const source = positions[shown + i];
        if (source < begin || source >= end) continue;
        if (!isThere) range.setStart(node, i);
        range.setEnd(node, i + 1);
        isThere = true;
      }
      shown += node.length;
    }
    return isThere ? range : null;
  }

  #show(index, range) {
    if (index === this.#current && !$("token-box").hidden) return;
    this.#current = index;
    const token = this.#tokens[index];
    const chosen = [token.text, token.logprob];
    const rows = token.top.some(([text]) => text === token.text) ? token.top : [chosen, ...token.top];
    const box = $("token-box");
    box.replaceChildren(element("table", {}, element("tbody", {}, ...rows.map(([text, logprob]) =>
      row(text, Math.exp(logprob), text === token.text)))));
    box.hidden = false;
    place(box, range.getBoundingClientRect());
    globalThis.CSS?.highlights?.set("token", new Highlight(range));
  }

  #hide() {
    $("token-box").hidden = true;
    globalThis.CSS?.highlights?.delete("token");
  }
}

function contains(range, {clientX, clientY}) {
  return [...range.getClientRects()].some((box) => clientX >= box.left - 1 && clientX <= box.right + 1 &&
      clientY >= box.top - 2 && clientY <= box.bottom + 2);
}

function row(text, probability, isChosen) {
  const meter = element("meter", {min: "0", max: "1", value: String(probability), "aria-hidden": "true"});
  const share = probability < 0.0005 ? "< 0.1 %" : `${(100 * probability).toFixed(1)} %`;
  return element("tr", {class: isChosen && "chosen"},
      element("th", {scope: "row"}, text.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "␣")),
      element("td", {}, meter), element("td", {class: "number"}, share));
}

/** Below the token, or above it where there is no room, within the window. */
function place(box, token) {
  const {offsetWidth: width, offsetHeight: height} = box;
  const left = Math.max(4, Math.min(token.left, innerWidth - width - 4));
  const below = token.bottom + 6;
  box.style.left = `${left}px`;
  box.style.top = `${below + height <= innerHeight ? below : Math.max(4, token.top - height - 6)}px`;
}
