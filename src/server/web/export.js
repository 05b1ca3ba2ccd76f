// Conversations as files.

import {element} from "./dom.js";
import {apiMessages} from "./conversation.js";

/** A code block, whatever is in it: its fence is longer than any within. */
function fenced(text, language = "") {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}${language}\n${text}\n${fence}`;
}

function messageMarkdown(message) {
  if (message.role === "user") return `## You\n\n${message.content}`;
  if (message.role === "tool") return `## Result of ${message.name}\n\n${fenced(message.content)}`;
  const parts = ["## Model"];
  if (message.reasoning) {
    parts.push(`<details><summary>Reasoning</summary>\n\n${fenced(message.reasoning)}\n\n</details>`);
  }
  if (message.content) parts.push(message.content);
  for (const call of message.calls ?? []) {
    parts.push(`Calls \`${call.name}\`:\n\n${fenced(call.arguments, "json")}`);
  }
  return parts.join("\n\n");
}

export function toMarkdown({title, settings, messages}) {
  const system = settings.system.trim();
  return [`# ${title || "Conversation"}`, ...(system ? [`## System\n\n${system}`] : []),
    ...messages.map(messageMarkdown)].join("\n\n") + "\n";
}

/** Messages and settings as the API takes them, so that a script can go on from there. */
export function toJson(conversation) {
  const {title, created, settings} = conversation;
  const {system: _, alternatives: __, ...given} = settings;
  return JSON.stringify({
    title, created: new Date(created).toISOString(),
    settings: Object.fromEntries(Object.entries(given).filter(([, value]) => value !== "")),
    messages: apiMessages(conversation),
  }, null, 2) + "\n";
}

/** Hands the browser a file to save. */
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], {type}));
  const link = element("a", {href: url, download: name.replace(/[^\p{L}\p{N} ._-]+/gu, "_")});
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
