// One answer of the model, while it comes.

import {chat} from "./api.js";
import {TokenRun} from "./alternatives.js";
import {requestBody} from "./conversation.js";
import {size} from "./dom.js";

/** What it took, in words. */
function costOf({usage, timings: t}) {
  const known = usage.prompt_tokens_details?.cached_tokens ?? 0;
  const parts = [`${usage.completion_tokens} tokens`];
  if (t) parts[0] += `, ${t.predicted_per_second.toFixed(1)}/s`;
  parts.push(`prompt ${usage.prompt_tokens}, ${known} from cache`);
  if (t) parts.push(`${(100 * t.expert_hit_rate).toFixed(1)} % hits`, `${size(t.expert_bytes_read)} read`);
  return parts.join(" · ");
}

/** Asks for the next message of a conversation, and fills `message` as it comes. */
export class Answer {
  #abort = new AbortController();
  #run;
  #thoughtSince = 0;

  constructor(conversation) {
    this.conversation = conversation;
    this.message = {role: "assistant", content: "", reasoning: "", calls: [], tokens: []};
    this.#run = new TokenRun(this.message.tokens);
  }

  /** What has come by then stays. */
  stop() {
    this.#abort.abort();
  }

  /** Ends with the answer, however that ends. `onChange` is called as text comes. */
  async run(onChange) {
    const {message} = this;
    try {
      const body = requestBody(this.conversation);
      this.conversation.messages.push(message);
      for await (const event of chat(body, this.#abort.signal)) {
        for (const choice of event.choices) this.#take(choice);
        if (event.usage) message.cost = costOf(event);
        onChange();
      }
      if (this.finish === "length") message.cost += " · cut off";
    } catch (failure) {
      if (!this.conversation.messages.includes(message)) this.conversation.messages.push(message);
      if (failure.name === "AbortError") message.isStopped = true;
      else message.error = failure instanceof TypeError ? "The server does not answer." : failure.message;
    }
    if (message.tokens.length === 0) delete message.tokens;
  }

  #take({delta, finish_reason: finish, logprobs}) {
    const {message} = this;
    this.finish = finish ?? this.finish;
    if (delta.reasoning_content) {
      this.#thoughtSince ||= performance.now();
      message.reasoning += delta.reasoning_content;
      message.seconds = (performance.now() - this.#thoughtSince) / 1000;
    }
    if (delta.content) message.content += delta.content;
    if (delta.content || (logprobs && message.content)) {
      this.#run.add(logprobs?.content ?? [], message.content);
    }
    for (const part of delta.tool_calls ?? []) {
      const call = message.calls[part.index] ??= {id: part.id, name: part.function.name, arguments: ""};
      call.arguments += part.function.arguments ?? "";
    }
  }
}
