"""What a conversation waits for when it comes back after others: conversations of several subjects take turns, in a budget that does
not hold the experts of all. measure_return.py MODEL PROGRAM [PROGRAM ...] [--turns N] [--restart] [--flags "..."]

Several programs are measured turn by turn beside each other; each must write the same text. With --restart each turn has a server that
was started for it.
"""

import argparse
import json
import statistics
import tempfile
import time
import urllib.request

from serving_process import ServingProcess

SUBJECTS = {
    "python": ["Write a Python function that sorts a list.", "Now with a class.", "Add a test.", "Add comments.", "Shorter, please."],
    "story": ["Tell me a story about the sea.", "What happened then?", "Who was the king?", "Tell me of his daughter.", "And the end?"],
    "chinese": ["写一首关于月亮的诗。", "再写一首。", "关于冬天呢？", "关于大海呢？", "再短一点。"],
}


def ask(url, messages, max_tokens):
    """The text, seconds to the first token, and tokens/s after it."""
    body = {"messages": messages, "max_tokens": max_tokens, "temperature": 0, "stream": True, "ignore_eos": True}
    begin, times, text = time.monotonic(), [], ""
    with urllib.request.urlopen(urllib.request.Request(url + "/v1/chat/completions", data=json.dumps(body).encode())) as stream:
        for line in stream:
            if line.startswith(b"data: {"):
                piece = "".join(choice["delta"].get("content") or "" for choice in json.loads(line[6:])["choices"])
                if piece:
                    times.append(time.monotonic())
                    text += piece
    return text, times[0] - begin, (len(times) - 1) / (times[-1] - times[0])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("programs", nargs="+")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--restart", action="store_true")
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--flags", default="", help="for all servers, as '--memory 80MB'")
    options = parser.parse_args()
    folders = [tempfile.TemporaryDirectory() for _ in options.programs]

    def start(i):
        return ServingProcess(options.programs[i], options.model, "--parallel", "1", "--resident-set", "off",
                              "--cache-dir", folders[i].name, *options.flags.split())

    servers = [start(i) for i in range(len(options.programs))]
    conversations = {subject: [] for subject in SUBJECTS}
    results = [[] for _ in servers]
    for turn in range(options.turns):
        for subject, messages in conversations.items():
            messages.append({"role": "user", "content": SUBJECTS[subject][turn % 5]})
            order = list(range(len(servers)))
            texts = set()
            for i in order if turn % 2 == 0 else reversed(order):
                if options.restart:
                    servers[i].stop()
                    servers[i] = start(i)
                before = servers[i].status()["experts"]
                text, first, rate = ask(servers[i].url, messages, options.max_tokens)
                after = servers[i].status()["experts"]
                texts.add(text)
                if turn > 0:
                    results[i].append((first, rate, after["misses"] - before["misses"],
                                       (after["bytes_read"] - before["bytes_read"]) / 2**20))
            assert len(texts) == 1, "the programs differ"
            messages.append({"role": "assistant", "content": texts.pop()})
    print("| program | first token | tokens/s after it | misses | read |\n|---|---|---|---|---|")
    for program, rows in zip(options.programs, results):
        median = [statistics.median(row[k] for row in rows) for k in range(4)]
        low, high = (sorted(row[1] for row in rows)[k] for k in (len(rows) // 4, len(rows) * 3 // 4))
        print(f"| {program} | {median[0]:.3f} s | {median[1]:.1f} ({low:.1f} to {high:.1f}) | {median[2]:.0f} | {median[3]:.0f} MiB |")
    for server in servers:
        server.stop()


main()
