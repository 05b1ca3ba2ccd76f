#!/usr/bin/env python3
"""Measures prefill and decode of flash-moe, llama.cpp and mlx-lm on one model, everything in memory, in turns.

llama.cpp runs the model as Q4_0 (tools/to_gguf.py, written once beside --gguf), mlx-lm in the checkpoint's own types. All
read the same random tokens and then decode the same number of further ones. Needs llama-cpp-python and mlx-lm
(`make venv venv-llama`), or as many of them as are asked for.
usage: .venv/bin/python tools/compare_speed.py [--model DIR] [--engines flash-moe llama.cpp mlx-lm] [--threads 2]
"""

import argparse
import json
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


class FlashMoe:
    def __init__(self, options, ids):
        self.options, self.ids = options, ids

    def measure(self):
        """Prefill and decode, tokens/s."""
        o = self.options
        with tempfile.TemporaryDirectory() as folder:
            ids_file = pathlib.Path(folder, "ids.json")
            ids_file.write_text(json.dumps(2 * self.ids))  # it warms up on as many
            command = [
                o.binary, "bench", o.model, "--json", "--warm", "--repeat", 1, "--memory", o.memory, "--threads",
                o.threads, "--ids-file", ids_file, "--prompt-tokens", o.prompt_tokens, "--decode-tokens", o.decode_tokens]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr)
        (budget,) = json.loads(done.stdout)["budgets"]
        return (budget["prefill"]["tokens_per_second"]["median"], budget["decode"]["tokens_per_second"]["median"])


class LlamaCpp:
    def __init__(self, options, ids):
        import llama_cpp
        import to_gguf
        self.lib, self.options, self.ids = llama_cpp, options, ids
        path = options.gguf or pathlib.Path(tempfile.gettempdir(), f"{options.model.name}-q4_0.gguf")
        if not path.exists():
            to_gguf.convert(options.model, path, "q4_0")
        llama_cpp.llama_backend_init()
        self.log = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.log, None)
        self.model = llama_cpp.llama_model_load_from_file(
            str(path).encode(), llama_cpp.llama_model_default_params())
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = len(ids) + 64
        parameters.n_batch = parameters.n_ubatch = 512
        parameters.n_threads = parameters.n_threads_batch = options.threads
        self.context = llama_cpp.llama_init_from_model(self.model, parameters)
        if not self.context:
            sys.exit(f"llama.cpp does not open {path}")

    def decode(self, ids):
        array = (self.lib.llama_token * len(ids))(*ids)
        if self.lib.llama_decode(self.context, self.lib.llama_batch_get_one(array, len(ids))) != 0:
            sys.exit("llama.cpp does not decode")
        self.lib.llama_get_logits(self.context)  # waits for the result

    def measure(self):
        prompt, rest = self.ids[: self.options.prompt_tokens], self.ids[self.options.prompt_tokens :]
        for _ in range(2):  # the first time warms up
            self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)
            begin = time.perf_counter()
            for at in range(0, len(prompt), 512):
                self.decode(prompt[at : at + 512])
            middle = time.perf_counter()
            for token in rest:
                self.decode([token])
            end = time.perf_counter()
        return len(prompt) / (middle - begin), len(rest) / (end - middle)


class MlxLm:
    """Decodes its own tokens; the same number of them."""

    def __init__(self, options, ids):
        import mlx.core as mx
        import mlx_lm
        mx.set_default_device(mx.cpu)
        self.lib, self.options, self.ids = mlx_lm, options, ids
        self.model, self.tokenizer = mlx_lm.load(str(options.model))
        self.tokenizer.eos_token_ids.clear()

    def measure(self):
        prompt, last = self.ids[: self.options.prompt_tokens], None
        for last in self.lib.stream_generate(
                self.model, self.tokenizer, prompt, max_tokens=self.options.decode_tokens):
            pass
        return last.prompt_tps, last.generation_tps


ENGINES = {"flash-moe": FlashMoe, "llama.cpp": LlamaCpp, "mlx-lm": MlxLm}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=ROOT / "build/release/flash-moe", type=pathlib.Path)
    parser.add_argument("--model", default=ROOT / "models/sprout-89m-4bit", type=pathlib.Path)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--gguf", type=pathlib.Path, help="the model for llama.cpp, written if it does not exist")
    parser.add_argument("--memory", default="1GiB", help="budget of flash-moe: enough for every expert")
    parser.add_argument("--threads", default=2, type=int)
    parser.add_argument("--prompt-tokens", default=512, type=int)
    parser.add_argument("--decode-tokens", default=256, type=int)
    parser.add_argument("--rounds", default=5, type=int)
    options = parser.parse_args()

    vocabulary_size = json.loads((options.model / "config.json").read_text())["vocab_size"]
    generator = random.Random(0)
    ids = [generator.randrange(vocabulary_size) for _ in range(options.prompt_tokens + options.decode_tokens)]
    engines = {name: ENGINES[name](options, ids) for name in options.engines}
    speeds = {name: [] for name in engines}
    for _ in range(options.rounds):
        for name, engine in engines.items():
            speeds[name].append(engine.measure())

    print(f"{'tokens/s, median (range)':<26}{'prefill of ' + str(options.prompt_tokens):<28}decode")
    for name, rounds in speeds.items():
        cells = [f"{statistics.median(s):.4g} ({min(s):.4g}-{max(s):.4g})" for s in zip(*rounds)]
        print(f"{name:<26}{cells[0]:<28}{cells[1]}")


if __name__ == "__main__":
    main()
