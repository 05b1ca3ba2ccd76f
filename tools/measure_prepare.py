#!/usr/bin/env python3
"""What it takes to read, render and tokenize prompts: the server's CPU for a long conversation that is known, and how long a
short request waits beside texts of megabytes.

    python3 tools/measure_prepare.py build/release-test/flash-moe MODEL --flags "--memory 256MB --context 4096"
"""

import argparse
import os
import pathlib
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "server"))


def cpu_seconds(pid):
    """By thread, as the scheduler counts."""
    return {task.name: int((task / "schedstat").read_text().split()[0]) / 1e9
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir()}


def conversation(messages):
    import hostile_bodies
    texts = hostile_bodies.english(100 * messages)
    return [{"role": "assistant" if i % 2 else "user", "content": texts[100 * i:100 * (i + 1)]} for i in range(messages)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--flags", default="--memory 256MB --context 4096")
    parser.add_argument("--requests", type=int, default=60)
    options = parser.parse_args()
    os.environ["FLASHMOE_PROGRAM"] = options.program
    import hostile_bodies
    from serving import Server

    server = Server(*options.flags.split(), model=options.model)
    body = {"messages": conversation(121), "max_tokens": 1}
    usage = server.post("/v1/chat/completions", body)["usage"]
    before = cpu_seconds(server.process.pid)
    for _ in range(options.requests):
        usage = server.post("/v1/chat/completions", body)["usage"]
    after = cpu_seconds(server.process.pid)
    spent = sorted((1e3 * (after[task] - before.get(task, 0)) / options.requests for task in after), reverse=True)
    print(f"a prompt of {usage['prompt_tokens']} tokens, {usage['prompt_tokens_details']['cached_tokens']} of them cached: CPU ms a "
          f"request, by thread: {', '.join(f'{ms:.2f}' for ms in spent if ms >= 0.05)}; {sum(spent):.2f} together")

    hello = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    long_body = hostile_bodies.user(hostile_bodies.english(1_500_000))
    over = threading.Event()

    def measure(label):
        seconds = []
        for _ in range(options.requests):
            begun = time.monotonic()
            server.post("/v1/chat/completions", hello)
            seconds.append(time.monotonic() - begun)
        seconds.sort()
        print(f"a short request {label}: {1e3 * statistics.median(seconds):.1f} ms, p95 "
              f"{1e3 * seconds[int(0.95 * len(seconds))]:.1f} ms, longest {1e3 * seconds[-1]:.1f} ms")

    def ask_long():
        while not over.is_set():
            hostile_bodies.send(server.url, "/apply-template", long_body)

    measure("alone")
    thread = threading.Thread(target=ask_long)
    thread.start()
    time.sleep(0.5)
    measure("beside conversations of 1.5 MB that are rendered one after the other")
    over.set()
    thread.join()
    server.stop()


if __name__ == "__main__":
    main()
