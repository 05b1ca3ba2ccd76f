#!/usr/bin/env python3
"""Compares flash-moe with mlx-lm on the same checkpoint: token ids, logits and greedy continuations.

Both run the quantised weights; mlx-lm's scales, biases and other floats are widened to float32, which is what flash-moe
computes in. Needs mlx-lm (`make venv`).
usage: .venv/bin/python tools/compare_mlx.py [--binary build/release/flash-moe] [--model DIR]
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import mlx.core as mx
import mlx_lm
import numpy as np
from mlx_lm.models.cache import make_prompt_cache

ROOT = pathlib.Path(__file__).resolve().parent.parent

# A position passes within this relative RMS of its logits. A router decision that is a near tie may fall the other way
# and move the positions after it, so a few may be off, but none by much.
LOGIT_TOLERANCE = 1e-3
LOGIT_TOLERANCE_AT_TIE = 5e-2
TIED_POSITIONS_MAX = 0.01
# Where mlx-lm's best two logits are closer than this, either is right.
GREEDY_MARGIN = 1e-2


class Engine:
    """The flash-moe program on one model."""

    def __init__(self, binary, model, memory):
        self.binary, self.model, self.memory = binary, model, memory

    def call(self, command, *arguments):
        full = [self.binary, command, self.model, *map(str, arguments)]
        done = subprocess.run(full, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, full))}: exit status {done.returncode}\n{done.stderr}")
        return done.stdout

    def tokenize(self, text):
        return json.loads(self.call("tokenize", "--text", text))

    def logits(self, ids):
        with tempfile.TemporaryDirectory() as folder:
            ids_file, out = pathlib.Path(folder, "ids.json"), pathlib.Path(folder, "out.safetensors")
            ids_file.write_text(json.dumps(ids))
            self.call("forward", "--ids-file", ids_file, "--out", out, "--memory", self.memory)
            return np.array(mx.load(str(out))["logits"])

    def run(self, ids, token_count):
        with tempfile.TemporaryDirectory() as folder:
            ids_file = pathlib.Path(folder, "ids.json")
            ids_file.write_text(json.dumps(ids))
            return json.loads(self.call(
                "run", "--ids-file", ids_file, "--max-tokens", token_count, "--temperature", 0, "--ignore-eos",
                "--json", "--memory", self.memory))


def relative_rms(a, b):
    """Per row: sqrt(mean (a - b)^2 / mean b^2)."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.sqrt(np.mean((a - b) ** 2, axis=-1) / np.mean(b**2, axis=-1))


def greedy(model, ids, token_count):
    """mlx-lm's greedy continuation and, for each of its tokens, the margin over the next best."""
    cache = make_prompt_cache(model)
    step, out, margins = ids, [], []
    for _ in range(token_count):
        logits = np.array(model(mx.array([step]), cache=cache)[0, -1])
        best = int(np.argmax(logits))
        top = np.partition(logits, -2)[-2:]
        out.append(best)
        margins.append(float(top[1] - top[0]))
        step = [best]
    return out, margins


def compare(engine, model, tokenizer, prompts, token_count):
    """Prints one line per prompt; returns the list of what is wrong."""
    failures, position_errors = [], []
    print(f"{'prompt':<12}{'tokens':>7}{'median':>10}{'worst':>10}  greedy")
    for name, text in prompts:
        ids = tokenizer.encode(text, add_special_tokens=False)
        if engine.tokenize(text) != ids:
            failures.append(f"{name}: token ids differ from Hugging Face tokenizers")
        errors = relative_rms(engine.logits(ids), np.array(model(mx.array([ids]))[0]))
        position_errors.extend(errors)

        expected, margins = greedy(model, ids, token_count)
        got = engine.run(ids, token_count)["token_ids"]
        same = next((i for i in range(token_count) if got[i : i + 1] != expected[i : i + 1]), token_count)
        if same < token_count and margins[same] > GREEDY_MARGIN:
            failures.append(f"{name}: greedy token {same} differs, margin {margins[same]:.3g}")
        print(f"{name:<12}{len(ids):>7}{np.median(errors):>10.1e}{errors.max():>10.1e}  {same} of {token_count} equal")

    off = np.array(position_errors) > LOGIT_TOLERANCE
    print(f"{off.sum()} of {off.size} positions beyond {LOGIT_TOLERANCE:g} relative RMS, worst {max(position_errors):.1e}")
    if off.mean() > TIED_POSITIONS_MAX:
        failures.append(f"more than {TIED_POSITIONS_MAX:.0%} of positions are off by more than {LOGIT_TOLERANCE:g}")
    if not max(position_errors) <= LOGIT_TOLERANCE_AT_TIE:
        failures.append(f"a position is off by more than {LOGIT_TOLERANCE_AT_TIE:g}")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=ROOT / "build/release/flash-moe", type=pathlib.Path)
    parser.add_argument("--model", default=ROOT / "models/sprout-89m-4bit", type=pathlib.Path)
    parser.add_argument("--memory", default="1GiB", help="budget for flash-moe's side of the comparison")
    parser.add_argument("--max-tokens", default=32, type=int, help="length of the greedy continuations")
    options = parser.parse_args()

    mx.set_default_device(mx.cpu)
    prompts = [(kind, texts[0]) for kind, texts in json.loads((options.model / "prompts.json").read_text()).items()]
    engine = Engine(options.binary, options.model, options.memory)
    model, tokenizer = mlx_lm.load(str(options.model))
    model.set_dtype(mx.float32)
    failures = compare(engine, model, tokenizer, prompts, options.max_tokens)
    for failure in failures:
        print(f"FAILED: {failure}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
