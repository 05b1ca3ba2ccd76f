// The server: every request that the page sends.

import {$} from "./dom.js";

function headers() {
  const key = $("key").value;
  return {"Content-Type": "application/json", ...(key ? {Authorization: `Bearer ${key}`} : {})};
}

async function checked(response) {
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new Error(body?.error?.message ?? `the server answers ${response.status}`);
}

/** What the machine does at the moment (GET /v1/cache/status). */
export async function status() {
  const response = await checked(await fetch("/v1/cache/status?map=1", {headers: headers()}));
  return response.json();
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

/**
 * The chunks of an answer (POST /v1/chat/completions). Throws what the server says went wrong, and
 * an AbortError once `signal` stops it.
 */
export async function* chat(body, signal) {
  const response = await checked(await fetch("/v1/chat/completions",
      {method: "POST", headers: headers(), body, signal}));
  for await (const event of events(response)) {
    if (event.error) throw new Error(event.error.message);
    yield event;
  }
}
