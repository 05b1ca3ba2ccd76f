"""Time to first token of each turn of a growing conversation: with the prefix cache, without it, after a restart, and in another
API's dialect. measure_reuse.py PROGRAM MODEL [--turns N] [--words N] [--flags "..."]
"""

import argparse
import json
import random
import statistics
import tempfile
import time
import urllib.request

from serving_process import ServingProcess

WORDS = "the sea village king daughter bridge river winter light stone old new road boat letter garden wind music".split()


class Server(ServingProcess):
    def ask(self, messages, dialect="openai"):
        """Seconds to the first token, the text, tokens of the prompt and how many were known."""
        body = {"messages": messages, "max_tokens": 24, "temperature": 0, "stream": True}
        path = "/v1/messages" if dialect == "anthropic" else "/v1/chat/completions"
        if dialect == "openai":
            body["stream_options"] = {"include_usage": True}
        begin, first, text, prompt, known = time.monotonic(), None, "", 0, 0
        request = urllib.request.Request(self.url + path, data=json.dumps(body).encode())
        with urllib.request.urlopen(request) as stream:
            for line in stream:
                if not line.startswith(b"data: {"):
                    continue
                event = json.loads(line[6:])
                if dialect == "anthropic":
                    piece = event.get("delta", {}).get("text", "")
                    usage = event.get("usage")
                    if usage:
                        known = usage["cache_read_input_tokens"]
                        prompt = usage["input_tokens"] + known
                else:
                    piece = "".join(choice["delta"].get("content") or "" for choice in event["choices"])
                    if event.get("usage"):
                        prompt = event["usage"]["prompt_tokens"]
                        known = event["usage"]["prompt_tokens_details"]["cached_tokens"]
                if piece and first is None:
                    first = time.monotonic() - begin
                text += piece
        return first or time.monotonic() - begin, text, prompt, known


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--words", type=int, default=120, help="of each question")
    parser.add_argument("--flags", default="", help="for all servers, as '--memory 80MB'")
    options = parser.parse_args()
    flags = options.flags.split()
    draw = random.Random(1)
    questions = [" ".join(draw.choice(WORDS) for _ in range(options.words)) for _ in range(options.turns)]

    with tempfile.TemporaryDirectory() as folder:
        cached = Server(options.program, options.model, "--parallel", "1", "--cache-dir", folder, *flags)
        uncached = Server(options.program, options.model, "--parallel", "1", "--prefix-cache", "off", *flags)
        messages, rows = [], []
        for question in questions:
            messages.append({"role": "user", "content": question})
            seconds, text, prompt, known = cached.ask(messages)
            without, same, _, _ = uncached.ask(messages)
            assert text == same, "the cache changed the text"
            rows.append([prompt, known, seconds, without])
            messages.append({"role": "assistant", "content": text})
        print("| turn | prompt | known | first token | without the cache | ratio |\n|---|---|---|---|---|---|")
        for turn, (prompt, known, seconds, without) in enumerate(rows, 1):
            print(f"| {turn} | {prompt} | {known} | {seconds:.3f} s | {without:.3f} s | {without / seconds:.1f} |")
        messages.append({"role": "user", "content": "Go on, please."})
        plain = statistics.median(uncached.ask(messages)[0] for _ in range(3))
        other = cached.ask(messages, "anthropic")
        cached.stop()
        again = Server(options.program, options.model, "--parallel", "1", "--cache-dir", folder, *flags)
        restarted = again.ask(messages[:-1] + [{"role": "user", "content": "And then?"}])
        again.stop()
        uncached.stop()
    print(f"\nThe next turn of {other[2]} tokens: by Anthropic's API {other[0]:.3f} s ({other[3]} known), after a restart "
          f"{restarted[0]:.3f} s ({restarted[3]} known), without the cache {plain:.3f} s.")


main()
