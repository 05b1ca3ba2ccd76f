// A conversation, as the page keeps it, and what the API is asked for it:
//   {id, title, created, changed, settings, messages}
// settings: system, temperature, top_p, top_k, min_p, max_tokens, seed, tools (JSON), as typed, and
//   alternatives (whether tokens come with theirs).
// messages: {role: "user", content}
//           {role: "assistant", content, reasoning, seconds (of reasoning), calls, tokens, cost, error, plain}
//           {role: "tool", id, name, content}
// calls: {id, name, arguments}. tokens: see alternatives.js. plain: its Markdown took too long.

export const NO_SETTINGS = {
  system: "", temperature: "", top_p: "", top_k: "", min_p: "", max_tokens: "", seed: "", tools: "",
  alternatives: true,
};
const NUMBERS = ["temperature", "top_p", "top_k", "min_p", "max_tokens"];
const ALTERNATIVES = 5;
const TITLE_LENGTH = 60;

export function newConversation(settings = NO_SETTINGS) {
  const now = Date.now();
  return {
    id: `${now.toString(36)}-${Math.random().toString(36).slice(2)}`,
    title: "", created: now, changed: now, settings: {...NO_SETTINGS, ...settings}, messages: [],
  };
}

/** The beginning of what was said first. */
export function titleFrom(text) {
  const line = text.trim().split("\n")[0];
  return line.length > TITLE_LENGTH ? `${line.slice(0, TITLE_LENGTH - 1)}…` : line;
}

/** Tools from text. Throws what is wrong, in words for whoever typed it. */
export function parseTools(text) {
  if (!text.trim()) return undefined;
  let tools;
  try {
    tools = JSON.parse(text);
  } catch (failure) {
    throw new Error(`The tools are no JSON: ${failure.message}`);
  }
  const isTool = (tool) => typeof tool?.function?.name === "string";
  if (!Array.isArray(tools) || !tools.every(isTool)) {
    throw new Error('The tools must be a list: [{"type": "function", "function": {"name": …}}]');
  }
  return tools.length > 0 ? tools : undefined;
}

/** A message as the API wants it. */
export function apiMessage(message) {
  if (message.role === "tool") {
    return {role: "tool", tool_call_id: message.id, name: message.name, content: message.content};
  }
  if (message.role !== "assistant") return {role: message.role, content: message.content};
  const plain = {role: "assistant", content: message.content};
  if (message.reasoning) plain.reasoning_content = message.reasoning;
  if (message.calls?.length) {
    plain.tool_calls = message.calls.map(({id, name, arguments: given}) =>
        ({id, type: "function", function: {name, arguments: given}}));
  }
  return plain;
}

/** What is said so far, without answers that failed before their first word. */
export function apiMessages({settings, messages}) {
  const said = messages.filter(({role, content, calls}) => role !== "assistant" || content || calls?.length)
      .map(apiMessage);
  const system = settings.system.trim();
  return system ? [{role: "system", content: system}, ...said] : said;
}

/** The body of a request for the next answer, a text. Throws if the tools or the seed are not proper. */
export function requestBody(conversation) {
  const {settings} = conversation;
  const body = {
    messages: apiMessages(conversation), stream: true, stream_options: {include_usage: true},
  };
  for (const name of NUMBERS) {
    const typed = String(settings[name]).trim();
    if (typed !== "") body[name] = Number(typed);
  }
  if (settings.alternatives) Object.assign(body, {logprobs: true, top_logprobs: ALTERNATIVES});
  const tools = parseTools(settings.tools);
  if (tools) body.tools = tools;
  const text = JSON.stringify(body);
  const seed = String(settings.seed).trim();
  if (seed === "") return text;
  if (!/^-?(0|[1-9]\d*)$/.test(seed)) throw new Error("The seed must be a whole number.");
  // It may have 64 bits, more than a number here holds.
  return `{"seed":${seed},${text.slice(1)}`;
}

/** Calls of the last answer that have no result yet. */
export function openCalls({messages}) {
  const last = messages.findLastIndex(({role}) => role === "assistant");
  if (last < 0) return [];
  const after = messages.slice(last + 1);
  if (after.some(({role}) => role === "user")) return [];
  const given = new Set(after.map(({id}) => id));
  return (messages[last].calls ?? []).filter(({id}) => !given.has(id));
}
