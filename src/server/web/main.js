// The page: which conversation is open, which answers are coming, and what keys and buttons do.

import {Answer} from "./answer.js";
import {newConversation, openCalls, titleFrom} from "./conversation.js";
import {$, notice} from "./dom.js";
import {download, toJson, toMarkdown} from "./export.js";
import {watchMachine} from "./machine.js";
import {setUpSettings, showSettings} from "./settings.js";
import {closeDrawers, setUpPanels, showConversations} from "./sidebar.js";
import {Store} from "./store.js";
import {submitsByEnter, Transcript} from "./transcript.js";

const store = new Store(notice, changedElsewhere);
const running = new Map();  // Answers that are coming, by their conversation's id
let current = newConversation();

const transcript = new Transcript({
  edit(index, text) {
    const message = current.messages[index];
    message.content = text;
    // Positions of tokens no longer hold.
    delete message.tokens;
    if (message.role === "assistant") return keepAndShow();
    current.messages.length = index + 1;
    return askNext();
  },
  regenerate(index) {
    current.messages.length = index;
    return askNext();
  },
  giveResult(call, content) {
    current.messages.push({role: "tool", id: call.id, name: call.name, content});
    return openCalls(current).length > 0 ? keepAndShow() : askNext();
  },
});

/* ---- conversations ---- */

async function showList() {
  showConversations(await store.list(), current.id, open);
}

function show() {
  const answer = running.get(current.id);
  const title = current.title || "New chat";
  $("title").textContent = title;
  document.title = current.title ? `${title} – flash-moe` : "flash-moe";
  $("conversation-menu").hidden = current.messages.length === 0;
  $("send").textContent = answer ? "Stop" : "Send";
  transcript.show(current, answer);
}

async function keep(conversation) {
  conversation.changed = Date.now();
  await store.put(conversation);
  await showList();
}

async function keepAndShow() {
  show();
  await keep(current);
}

async function open(id) {
  closeDrawers();
  // What an answer is being written to is that very object.
  const conversation = running.get(id)?.conversation ?? await store.get(id);
  if (!conversation) return;
  current = conversation;
  localStorageSet("current", id);
  showSettings(current.settings);
  show();
  await showList();
}

async function begin() {
  closeDrawers();
  current = newConversation(current.settings);
  localStorageSet("current", "");
  show();
  await showList();
  $("input").focus();
}

async function remove() {
  const gone = current;
  running.get(gone.id)?.stop();
  await store.delete(gone.id);
  await begin();
  notice(`Deleted “${gone.title}”.`, {label: "Undo", run: async () => {
    await store.put(gone);
    await open(gone.id);
  }});
}

function rename() {
  const field = $("rename");
  field.value = current.title;
  field.hidden = false;
  $("title").hidden = true;
  field.focus();
  field.select();
}

async function renamed(isMeant) {
  if ($("rename").hidden) return;
  $("rename").hidden = true;
  $("title").hidden = false;
  const title = $("rename").value.trim();
  if (!isMeant || !title || title === current.title) return;
  current.title = title;
  await keepAndShow();
}

/** Another window has written this conversation. */
async function changedElsewhere(id) {
  if (id === current.id && !running.has(id)) {
    const conversation = await store.get(id);
    if (conversation) {
      current = conversation;
      show();
    }
  }
  await showList();
}

/* ---- answers ---- */

/** Has the model say what comes next in the current conversation. */
async function askNext() {
  const conversation = current;
  running.get(conversation.id)?.stop();
  const answer = new Answer(conversation);
  running.set(conversation.id, answer);
  const done = answer.run(() => {
    if (current === conversation) transcript.update();
  });
  show();
  await keep(conversation);
  await done;
  if (running.get(conversation.id) === answer) running.delete(conversation.id);
  if (current === conversation) {
    show();
    $("spoken").textContent = answer.message.error ?? "The answer is complete.";
  }
  await keep(conversation);
}

function send() {
  const answer = running.get(current.id);
  if (answer) return answer.stop();
  const content = $("input").value.trim();
  if (!content) return undefined;
  $("input").value = "";
  fitInput();
  if (current.messages.length === 0) current.title = titleFrom(content);
  current.messages.push({role: "user", content});
  localStorageSet("current", current.id);
  return askNext();
}

/* ---- the page itself ---- */

function localStorageSet(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // The next visit begins with an empty conversation.
  }
}

/** The field for messages grows with its text. */
function fitInput() {
  const field = $("input");
  field.style.height = "auto";
  field.style.height = `${Math.min(field.scrollHeight + 2, innerHeight * 0.4)}px`;
}

function onKey(event) {
  if (event.key === "Escape" && !$("settings").open) {
    if (!closeDrawers()) running.get(current.id)?.stop();
  }
  if (event.ctrlKey && event.shiftKey && event.key.toLowerCase() === "o") {
    event.preventDefault();
    begin();
  }
}

/** A menu of the browser's own, put below its button. */
function setUpMenu() {
  const menu = $("menu");
  menu.addEventListener("toggle", (event) => {
    if (event.newState !== "open") return;
    const box = $("conversation-menu").getBoundingClientRect();
    menu.style.top = `${box.bottom + 4}px`;
    menu.style.left = `${Math.max(4, box.right - menu.offsetWidth)}px`;
    menu.querySelector("button").focus();
  });
  const choices = {
    "menu-rename": rename,
    "menu-markdown": () => download(`${current.title}.md`, "text/markdown", toMarkdown(current)),
    "menu-json": () => download(`${current.title}.json`, "application/json", toJson(current)),
    "menu-delete": remove,
  };
  for (const [id, run] of Object.entries(choices)) {
    $(id).addEventListener("click", () => {
      menu.hidePopover();
      run();
    });
  }
  menu.addEventListener("keydown", (event) => {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (!step) return;
    event.preventDefault();
    const items = [...menu.querySelectorAll("button")];
    items.at((items.indexOf(document.activeElement) + step) % items.length).focus();
  });
}

function setUp() {
  setUpPanels();
  setUpMenu();
  setUpSettings((settings) => {
    current.settings = settings;
    if (current.messages.length > 0) keep(current);
  });
  submitsByEnter($("input"));
  $("input").addEventListener("input", fitInput);
  $("compose").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  $("new").addEventListener("click", begin);
  $("rename").addEventListener("blur", () => renamed(true));
  $("rename").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.stopPropagation();
    renamed(event.key === "Enter");
  });
  document.addEventListener("keydown", onKey);
}

setUp();
showSettings(current.settings);
show();
watchMachine();
await store.open();
await showList();
try {
  const last = localStorage.getItem("current");
  if (last && current.messages.length === 0) await open(last);
} catch {
  // Nothing is kept here.
}
