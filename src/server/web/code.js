// Code blocks: coloured where highlight.js is there, with a button that copies them.

import {copyButton, element} from "./dom.js";

// Longer code is shown without colours: they take time in proportion.
const LENGTH_MAX = 30000;
// Code that is still being written is coloured at its end, unless it is short.
const OPEN_LENGTH_MAX = 4000;

/** Elements with colours for `text`, or none: no library, an unknown language, too long. */
function coloured(language, text) {
  const {hljs, DOMPurify} = globalThis;
  if (!hljs || text.length > LENGTH_MAX || !hljs.getLanguage(language)) return null;
  const html = hljs.highlight(language, text, true).value;
  return DOMPurify.sanitize(html,
      {ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true});
}

export class CodeBlock {
  #code = element("code");
  #language;
  #text = "";

  /** `language`: as it stands after the fence. */
  constructor(language) {
    this.#language = language.trim().split(/[\s{,]/)[0].toLowerCase();
    this.node = element("figure", {class: "code"},
        element("figcaption", {}, element("span", {}, this.#language || "text"), copyButton(() => this.#text)),
        element("pre", {tabindex: "0"}, this.#code));
  }

  /** `isOpen`: more may come. Text that goes on costs what is new of it. */
  show(text, isOpen) {
    const isLonger = text.startsWith(this.#text);
    const added = text.slice(this.#text.length);
    this.#text = text;
    const colours = !isOpen || text.length <= OPEN_LENGTH_MAX ? coloured(this.#language, text) : null;
    const last = this.#code.lastChild;
    if (colours) this.#code.replaceChildren(colours);
    else if (isOpen && isLonger && last?.nodeType === Node.TEXT_NODE) last.appendData(added);
    else if (isOpen && isLonger && last) this.#code.append(added);
    else this.#code.replaceChildren(text);
  }
}
