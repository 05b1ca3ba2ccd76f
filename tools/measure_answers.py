#!/usr/bin/env python3
"""Large answers: what several at once take, and what one of many choices takes and how long others wait beside it.

    python3 tools/measure_answers.py build/release-test/flash-moe MODEL --flags "--memory 256MB"
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "server"))
SCORED = {"max_tokens": 0, "echo": True, "logprobs": 20}
HELLO = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--flags", default="--memory 256MB")
    options = parser.parse_args()
    os.environ["FLASHMOE_PROGRAM"] = options.program
    import hostile_bodies
    from serving import Server

    def ask(server, body):
        begun = time.monotonic()
        status, answer = hostile_bodies.send(server.url, "/v1/completions", json.dumps(body).encode(), timeout=1800)
        return status, len(answer), time.monotonic() - begun

    def measure(label, bodies):
        """Asks all at once, and for short answers until they are there."""
        server = Server(*options.flags.split(), model=options.model)
        waits = []
        with concurrent.futures.ThreadPoolExecutor(len(bodies)) as pool:
            asked = [pool.submit(ask, server, body) for body in bodies]
            time.sleep(0.5)
            while not all(each.done() for each in asked):
                begun = time.monotonic()
                server.post("/v1/chat/completions", HELLO)
                waits.append(time.monotonic() - begun)
        statuses, sizes, seconds = zip(*(each.result() for each in asked))
        peak = hostile_bodies.peak_memory(server.process)
        server.stop()
        print(f"| {label} | {', '.join(map(str, sorted(set(statuses))))} | {sum(sizes) / 1e6:.1f} MB | {max(seconds):.1f} s | "
              f"{peak / 1e6:.1f} MB | {max(waits, default=0):.2f} s |", flush=True)

    text = "a b " * 1900
    print("| asked | status | answers | seconds | VmHWM | a short request, longest |\n|---|---|---|---|---|---|")
    measure("8 scored prompts alike, three times at once", [{"prompt": ["x0 " + text] * 8, **SCORED}] * 3)
    measure("8 scored prompts, three times at once",
            [{"prompt": [f"x{8 * request + i} {text}" for i in range(8)], **SCORED} for request in range(3)])
    measure("64 choices of a scored prompt", [{"prompt": "x0 " + text, "n": 64, **SCORED}])
    measure("64 choices of 50 tokens", [{"prompt": "x0 " + text, "n": 64, "max_tokens": 50, "ignore_eos": True}])


if __name__ == "__main__":
    main()
