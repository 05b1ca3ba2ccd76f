"""Loads a running server with concurrent streams, and says what it gave: load_serve.py PROGRAM MODEL [options]

For each number of streams, every stream asks one request after another for some seconds. Reported are tokens/s of all, bytes of experts read
and CPU time of the server's HTTP thread per token (Linux), how unequally streams were served, errors and memory.
"""

import argparse
import asyncio
import json
import pathlib
import random
import sys
import time

from serving_process import ServingProcess

STORIES = ["Write a story about {}.", "Explain {} to a child.", "Write a Python function about {}.", "Write a poem about {}.",
           "What is {}?", "Translate to Chinese: {}."]
SUBJECTS = ["the sea", "a bridge", "sorting", "the moon", "prime numbers", "a king", "winter", "trains", "light", "music"]


def cpu_seconds(process, thread):
    """By the scheduler's own clock: ticks would miss most of what takes microseconds."""
    return int(pathlib.Path(f"/proc/{process.pid}/task/{thread}/schedstat").read_text().split()[0]) / 1e9


class Stream:
    def __init__(self, number, url):
        self.random = random.Random(number)
        self.host, port = url.removeprefix("http://").split(":")
        self.port = int(port)
        self.tokens, self.requests, self.errors, self.first = 0, 0, 0, []

    async def ask(self, max_tokens):
        prompt = self.random.choice(STORIES).format(self.random.choice(SUBJECTS))
        body = json.dumps({"messages": [{"role": "user", "content": prompt}], "stream": True, "max_tokens": max_tokens,
                           "temperature": 1, "seed": self.random.randrange(10**6), "ignore_eos": True}).encode()
        begin = time.monotonic()
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                     b"Content-Length: %d\r\n\r\n" % len(body) + body)
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            self.errors += 1
        seen, done = 0, b""
        while data := await reader.read(65536):
            chunks = data.count(b'"delta":{"content"')
            if chunks and not seen:
                self.first.append(time.monotonic() - begin)
            seen += chunks
            done = (done + data)[-200:]
        self.tokens += seen
        self.requests += 1
        self.errors += b"[DONE]" not in done
        writer.close()

    async def run(self, until, max_tokens):
        while time.monotonic() < until:
            await self.ask(max_tokens)


async def load(url, count, seconds, max_tokens):
    streams = [Stream(number, url) for number in range(count)]
    until = time.monotonic() + seconds
    await asyncio.gather(*(stream.run(until, max_tokens) for stream in streams))
    return streams


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--streams", default="1,4,16,64")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--flags", default="", help="for the server, as '--memory 80MB'")
    options = parser.parse_args()
    counts = [int(count) for count in options.streams.split(",")]
    server = ServingProcess(options.program, options.model, "--parallel", str(max(counts)), *options.flags.split())
    url, process = server.url, server.process
    asyncio.run(load(url, 1, 2, 16))
    print("| streams | tokens/s | ratio | tokens per step | expert bytes read per token | HTTP CPU per token | first token p50, p95 "
          "| least to most tokens of a stream | requests | errors | memory in use, at the start and the end |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    base = None
    for count in counts:
        before, cpu, begin = server.status(), cpu_seconds(process, process.pid), time.monotonic()
        streams = asyncio.run(load(url, count, options.seconds, options.max_tokens))
        seconds = time.monotonic() - begin
        after, cpu = server.status(), cpu_seconds(process, process.pid) - cpu
        change = {key: after["requests"][key] - before["requests"][key] for key in after["requests"]}
        tokens = change["generated_tokens"]
        rate = tokens / seconds
        base = base or rate
        first = sorted(time for stream in streams for time in stream.first)
        told = [stream.tokens for stream in streams]
        read = after["experts"]["bytes_read"] - before["experts"]["bytes_read"]
        print(f"| {count} | {rate:.1f} | {rate / base:.2f} | {change['decode_rows'] / max(1, change['decode_steps']):.1f} "
              f"| {read / tokens / 1024:.1f} KiB | {1e6 * cpu / tokens:.1f} us "
              f"| {first[len(first) // 2]:.2f}, {first[len(first) * 95 // 100]:.2f} s | {min(told)} to {max(told)} "
              f"| {sum(stream.requests for stream in streams)} | {sum(stream.errors for stream in streams)} "
              f"| {before['memory']['resident_bytes'] / 2**20:.1f}, {after['memory']['resident_bytes'] / 2**20:.1f} MiB |", flush=True)
    sys.exit(server.stop())


main()
