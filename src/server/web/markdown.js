// Text of a model, which is Markdown at best and hostile at worst, on the page. It is taken apart by
// marked and cleaned by DOMPurify; without these it is text with code set apart.
//
// Text grows while it is shown. Its top-level blocks (paragraphs, lists, code blocks) are rendered
// one by one, and only the last ones again when more comes, so that a token of a long answer costs
// no more than one of a short answer.

import {CodeBlock} from "./code.js";
import {element} from "./dom.js";

const SAFE = {
  ALLOWED_TAGS: ["a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr",
    "li", "ol", "p", "pre", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"],
  ALLOWED_ATTR: ["align", "class", "href", "start", "title"],
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:)/i,
  RETURN_DOM_FRAGMENT: true,
};

// Rendering takes at most one part in so many of the time.
const TIME_SHARE = 4;
// A block that takes both longer than this and longer for its length is shown as plain text.
const BLOCK_MS_MAX = 400;
const BLOCK_MS_PER_KB_MAX = 50;
// Blocks that may still change when text is appended.
const OPEN_BLOCKS = 2;
// Quotes and lists within each other, deeper than anyone means.
const TOO_DEEP = /^(?:[ \t]*(?:>|[-+*]|\d{1,9}[.)])){40}/m;

/** marked as it is wanted here, or null where the build had no libraries. */
function markedOptions() {
  const {marked, DOMPurify} = globalThis;
  if (!marked || !DOMPurify) return null;
  // HTML is not recognised: it is shown as the text that the model wrote.
  class Tokenizer extends marked.Tokenizer {
    html() { return undefined; }
    tag(source) {
      const found = /^<br *\/?>/i.exec(source);
      return found ? {type: "br", raw: found[0]} : undefined;
    }
  }
  class Renderer extends marked.Renderer {
    // Nothing is fetched from elsewhere.
    image(href, title, text) { return super.link(href, title, `image: ${text || href}`); }
    checkbox(isChecked) { return isChecked ? "☑ " : "☐ "; }
  }
  return {...marked.defaults, gfm: true, breaks: true, headerIds: false, mangle: false,
    tokenizer: new Tokenizer(), renderer: new Renderer()};
}
const OPTIONS = markedOptions();

/** The block of code at the beginning of `text`, which may be unclosed: {type, raw, lang, text}. */
function codeAt(text) {
  const [opening, fence, lang] = /^(`{3,}(?=[^`\n]*(?:\n|$))|~{3,})([^\n]*)\n?/.exec(text);
  const closing = new RegExp(`^${fence[0]}{${fence.length},}[ \\t]*(?:\\n|$(?![^]))`, "gm");
  closing.lastIndex = opening.length;
  const end = closing.exec(text);
  return {
    type: "code", lang, raw: text.slice(0, end ? closing.lastIndex : text.length),
    text: text.slice(opening.length, end ? Math.max(opening.length, end.index - 1) : text.length),
  };
}

/** Where in `text` ends what became `raw`: marked writes tabs and line ends its own way. -1: no. */
function endOf(raw, text, at) {
  if (text.startsWith(raw, at)) return at + raw.length;
  let end = at;
  for (let i = 0; i < raw.length; ++end) {
    if (end >= text.length) return -1;
    if (text[end] === "\t" && raw.startsWith("    ", i)) i += 4;
    else if (text[end] === "\r" && text[end + 1] === "\n") continue;
    else if (text[end] === raw[i]) ++i;
    else return -1;
  }
  return end;
}

/** Blocks between two of code, which stand at `start`. */
function textBlocks(text, start, isPlain) {
  if (isPlain || !OPTIONS || TOO_DEEP.test(text)) return [{type: "plain", raw: text, start}];
  const tokens = globalThis.marked.lexer(text, {...OPTIONS});
  const hasLinks = Object.keys(tokens.links).length > 0;
  let at = 0;
  for (const token of tokens) {
    let end = endOf(token.raw, text, at);
    // Definitions of links, which are whole lines, make no token.
    while (end < 0 && at < text.length) {
      at = text.indexOf("\n", at) + 1 || text.length;
      end = endOf(token.raw, text, at);
    }
    token.start = start + at;
    token.hasLinks = hasLinks;
    at = Math.max(at, end);
  }
  return tokens;
}

/** The blocks that `text` is made of, as marked's tokens, with their `start`. */
function blocksOf(text, isPlain) {
  const blocks = [];
  // Code that is not indented stands in no list, and keeps its tabs.
  const fence = /^(?:`{3,}[^`\n]*|~{3,}[^\n]*)(?:\n|$(?![^]))/gm;
  let at = 0;
  for (let found; (found = fence.exec(text)); fence.lastIndex = at) {
    if (found.index > at) blocks.push(...textBlocks(text.slice(at, found.index), at, isPlain));
    const code = codeAt(text.slice(found.index));
    blocks.push({...code, start: found.index});
    at = found.index + code.raw.length;
  }
  if (at < text.length) blocks.push(...textBlocks(text.slice(at), at, isPlain));
  return blocks.filter(({type}) => type !== "space");
}

/** What DOMPurify lets through, with links that open beside the page and code blocks of ours. */
function safe(html) {
  const part = globalThis.DOMPurify.sanitize(html, SAFE);
  for (const link of part.querySelectorAll("a[href]")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  for (const code of part.querySelectorAll("pre > code")) {
    const block = new CodeBlock(/(?:^| )language-(\S+)/.exec(code.className)?.[1] ?? "");
    block.show(code.textContent.replace(/\n$/, ""), false);
    code.parentNode.replaceWith(block.node);
  }
  for (const table of part.querySelectorAll("table")) {
    const box = element("div", {class: "wide-table", tabindex: "0"});
    table.replaceWith(box);
    box.append(table);
  }
  return part;
}

/** One top-level block on the page. `start`: where it begins in the text. */
class Block {
  constructor(token, start) {
    this.start = start;
    this.type = token.type;
    this.language = token.lang ?? "";
    this.raw = null;
    if (token.type === "code") this.code = new CodeBlock(this.language);
    this.node = this.code?.node ??
        element("div", {class: token.type === "plain" ? "block plain-text" : "block"});
  }

  /** Whether this block can become that token. */
  takes(token, start) {
    return start === this.start && token.type === this.type && (token.lang ?? "") === this.language;
  }

  /** `isOpen`: more may come. False: it took too long. */
  show(token, isOpen) {
    if (token.raw === this.raw && isOpen === this.isOpen) return true;
    const begun = performance.now();
    if (this.code) this.code.show(token.text, isOpen);
    else if (token.type === "plain") this.#showPlain(token.raw);
    else this.node.replaceChildren(safe(globalThis.marked.parser([token], {...OPTIONS})));
    this.raw = token.raw;
    this.isOpen = isOpen;
    const took = performance.now() - begun;
    return took < BLOCK_MS_MAX || took < BLOCK_MS_PER_KB_MAX * token.raw.length / 1024;
  }

  #showPlain(text) {
    const last = this.node.lastChild;
    if (last && text.startsWith(this.raw)) last.appendData(text.slice(this.raw.length));
    else this.node.textContent = text;
  }
}

/** Text of a model that may still grow. */
export class MarkdownView {
  #text = "";
  #blocks = [];
  #isScheduled = false;
  #isFinished = false;

  /** `isPlain`: it is known to take too long as Markdown. */
  constructor(isPlain = false) {
    this.node = element("div", {class: "text"});
    this.isPlain = isPlain;
  }

  /** The blocks on the page: {start, raw, node}. */
  get blocks() { return this.#blocks; }

  /** All of the text so far; it is shown soon. */
  update(text) {
    this.#text = text;
    if (this.#isScheduled || this.#isFinished) return;
    this.#isScheduled = true;
    requestAnimationFrame(() => this.#renderInTurn());
  }

  /** Nothing more comes: shows all of it. */
  finish(text) {
    this.#text = text;
    this.#isFinished = true;
    this.#render(0, false);
  }

  #renderInTurn() {
    if (this.#isFinished) return;
    const begun = performance.now();
    const shown = this.#text;
    this.#render(Math.max(0, this.#blocks.length - OPEN_BLOCKS), true);
    setTimeout(() => {
      this.#isScheduled = false;
      if (this.#text !== shown) this.update(this.#text);
    }, (TIME_SHARE - 1) * (performance.now() - begun));
  }

  #render(from, isOpen) {
    let isDone = false;
    try {
      isDone = this.#renderBlocks(from, isOpen);
    } catch {
      // Nested beyond what the library takes.
    }
    if (isDone) return;
    this.isPlain = true;
    this.#renderBlocks(0, isOpen);
  }

  /** Renders from a block on; what is as it was costs nothing. False: something took too long. */
  #renderBlocks(from, isOpen) {
    const base = this.#blocks[from]?.start ?? 0;
    const tokens = blocksOf(this.#text.slice(base), this.isPlain);
    for (const [i, token] of tokens.entries()) {
      const start = base + token.start;
      const known = this.#blocks[from + i];
      let block = known;
      if (!known?.takes(token, start)) {
        block = this.#blocks[from + i] = new Block(token, start);
        if (known) known.node.replaceWith(block.node);
        else this.node.append(block.node);
      } else if (!isOpen && token.hasLinks) {
        // It may refer to a link whose definition came after it.
        block.raw = null;
      }
      if (!block.show(token, isOpen && i === tokens.length - 1) && !this.isPlain) return false;
    }
    for (const gone of this.#blocks.splice(from + tokens.length)) gone.node.remove();
    return true;
  }
}
