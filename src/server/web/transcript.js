// The conversation on the page: its messages, and what can be done with each.

import {TokenView} from "./alternatives.js";
import {openCalls} from "./conversation.js";
import {$, button, copyButton, element} from "./dom.js";
import {MarkdownView} from "./markdown.js";

const NAMES = {user: "You", assistant: "Model", tool: "Result"};

/** JSON with its lines apart; what is none (or not yet) as it stands. */
function indented(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

/** Sends a form's text by Enter; Shift+Enter begins a line. */
export function submitsByEnter(area) {
  area.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    area.form.requestSubmit();
  });
}

/** Reasoning that folds: open while nothing else has come. */
class Reasoning {
  #text = document.createTextNode("");
  #summary = element("summary");
  #isTouched = false;

  constructor() {
    this.node = element("details", {class: "thought"}, this.#summary, element("div", {}, this.#text));
    this.#summary.addEventListener("click", () => { this.#isTouched = true; });
  }

  show({reasoning, seconds, content, calls}, isRunning) {
    const isThinking = isRunning && !content && !calls?.length;
    this.#text.appendData(reasoning.slice(this.#text.length));
    this.#summary.textContent = isThinking ? "Thinking…" : `Thought for ${Math.max(1, Math.round(seconds))} s`;
    if (!this.#isTouched) this.node.open = isThinking;
  }
}

/** An answer of the model: it may still be coming. */
class AnswerView {
  #calls = [];
  #reasoning = null;
  #text;
  #message;

  constructor(message) {
    this.#message = message;
    this.#text = new MarkdownView(message.plain);
    this.node = element("div", {class: "body"}, this.#text.node);
    if (message.tokens) new TokenView(this.#text, message.tokens);
  }

  update(isRunning) {
    const message = this.#message;
    if (message.reasoning) {
      if (!this.#reasoning) {
        this.#reasoning = new Reasoning();
        this.node.prepend(this.#reasoning.node);
      }
      this.#reasoning.show(message, isRunning);
    }
    if (isRunning) this.#text.update(message.content);
    else this.#text.finish(message.content);
    for (const [i, call] of (message.calls ?? []).entries()) {
      if (!this.#calls[i]) {
        this.#calls[i] = element("pre", {class: "arguments"});
        this.node.append(element("div", {class: "call"},
            element("span", {}, "calls ", element("b", {}, call.name)), this.#calls[i]));
      }
      this.#calls[i].textContent = indented(call.arguments);
    }
    if (isRunning) return;
    if (this.#text.isPlain) message.plain = true;
    if (message.error) this.node.append(element("div", {class: "error", role: "alert"}, message.error));
    const notes = [message.isStopped && "stopped", message.cost].filter(Boolean);
    if (notes.length > 0) this.node.append(element("div", {class: "cost"}, notes.join(" · ")));
  }
}

/**
 * Shows one conversation in #messages. `does` says what its buttons do: edit(index, text),
 * regenerate(index), giveResult(call, text).
 */
export class Transcript {
  #conversation = null;
  #answer = null;  // the AnswerView that is being filled
  #isAtEnd = true;
  #does;

  constructor(does) {
    this.#does = does;
    const box = $("messages");
    box.addEventListener("scroll", () => {
      this.#isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 60;
    });
    new ResizeObserver(() => {
      if (this.#isAtEnd) box.scrollTop = box.scrollHeight;
    }).observe($("message-list"));
  }

  /** `running`: the Answer that is coming in it, if any. */
  show(conversation, running) {
    this.#conversation = conversation;
    this.#answer = null;
    this.#isAtEnd = true;
    const isRunning = (message) => message === running?.message;
    $("message-list").replaceChildren(
        ...conversation.messages.map((message, i) => this.#node(message, i, isRunning(message))));
    $("welcome").hidden = conversation.messages.length > 0;
    $("messages").setAttribute("aria-busy", String(Boolean(running)));
    if (!running) this.#askForResults();
    $("messages").scrollTop = $("messages").scrollHeight;
  }

  /** More of the answer that is coming has come. */
  update() {
    this.#answer?.update(true);
  }

  #node(message, index, isRunning) {
    const who = message.role === "tool" ? `Result of ${message.name}` : NAMES[message.role];
    const node = element("article", {class: `message ${message.role}`, "aria-label": who},
        element("div", {class: "who"}, who));
    if (message.role === "assistant") {
      const view = new AnswerView(message);
      view.update(isRunning);
      if (isRunning) this.#answer = view;
      node.append(view.node);
    } else {
      node.append(element("div", {class: "body"}, element("div", {class: "text plain-text"}, message.content)));
    }
    if (!isRunning) node.append(this.#actions(message, index, node));
    return node;
  }

  #actions(message, index, node) {
    const actions = element("div", {class: "actions"}, copyButton(() => message.content),
        button("Edit", () => this.#edit(message, index, node)));
    if (message.role === "assistant") {
      actions.append(button("Regenerate", () => this.#does.regenerate(index)));
    }
    return actions;
  }

  /** Text to change in the place of a message. */
  #edit(message, index, node) {
    const area = element("textarea", {"aria-label": "Message", rows: "3"});
    area.value = message.content;
    const restore = () => {
      form.replaceWith(...hidden);
      hidden[0].querySelector?.("button")?.focus();
    };
    const form = element("form", {class: "edit", onsubmit: (event) => {
      event.preventDefault();
      this.#does.edit(index, area.value);
    }}, area, element("div", {class: "row"},
        element("button", {type: "submit"}, message.role === "assistant" ? "Save" : "Save and ask again"),
        button("Cancel", restore)));
    const hidden = [...node.querySelectorAll(":scope > .body, :scope > .actions")];
    form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      restore();
    });
    submitsByEnter(area);
    hidden[0].before(form);
    hidden.forEach((part) => part.remove());
    area.style.height = `${Math.min(area.scrollHeight + 4, innerHeight / 2)}px`;
    area.focus();
  }

  /** Whoever uses the page plays the tools. */
  #askForResults() {
    const asked = openCalls(this.#conversation);
    const fields = asked.map((call) => {
      const area = element("textarea",
          {rows: "1", placeholder: `What ${call.name} answers`, "aria-label": `Result of ${call.name}`});
      const form = element("form", {class: "result row", onsubmit: (event) => {
        event.preventDefault();
        this.#does.giveResult(call, area.value);
      }}, area, element("button", {type: "submit"}, "Give result"));
      submitsByEnter(area);
      $("message-list").append(form);
      return area;
    });
    fields[0]?.focus();
  }
}
