#!/usr/bin/env python3
"""Peak memory (VmHWM) of a server that is asked each kind of large request, a server for each.

    python3 tools/measure_request_memory.py build/release-test/flash-moe MODEL --sizes 4e6,60e6 --flags "--memory 256MB"
"""

import argparse
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "server"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--sizes", default="4e6,60e6", help="of bodies, in bytes")
    parser.add_argument("--flags", default="--memory 256MB")
    parser.add_argument("--only", default="", help="kinds with this in their name")
    options = parser.parse_args()
    os.environ["FLASHMOE_PROGRAM"] = options.program
    import hostile_bodies
    from serving import Server

    print("| request | body | status | seconds | VmHWM |\n|---|---|---|---|---|")
    for size in [int(float(size)) for size in options.sizes.split(",")]:
        for name, path, body in hostile_bodies.bodies(size):
            if options.only not in name:
                continue
            server = Server(*options.flags.split(), model=options.model)
            begun = time.monotonic()
            try:
                status, _ = hostile_bodies.send(server.url, path, body)
            except OSError as failure:
                status = type(failure).__name__
            seconds = time.monotonic() - begun
            peak = hostile_bodies.peak_memory(server.process)
            server.kill()
            print(f"| {name} | {len(body) / 1e6:.1f} MB | {status} | {seconds:.2f} | {peak / 1e6:.0f} MB |", flush=True)


if __name__ == "__main__":
    main()
