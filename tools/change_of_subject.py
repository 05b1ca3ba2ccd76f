#!/usr/bin/env python3
"""How many experts does the exact mode miss after a change of subject?

Six pairs of subjects from the model's prompts.json: a prompt of the first, 30 tokens, then one of the second; counted are
the misses of the second prompt and its answer, without guesses. Several programs are run in turns, so that two builds
can be compared; misses depend on nothing but the build.
usage: tools/change_of_subject.py [--model DIR] [--capacity 24,48,80] [--texts 1,4] [--tokens 30] PROGRAM...
"""

import argparse
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAIRS = [("python", "poetry_zh"), ("english", "python"), ("chinese", "rust"), ("math", "japanese"), ("web", "english"),
         ("poetry_zh", "math")]


def numbers(text):
    return [int(number) for number in text.split(",")]


def text_of(texts, first, count):
    return "\n".join(texts[(first + i) % len(texts)] for i in range(count))


def count_misses(program, model, prompts, capacity, text_count, token_count):
    """Misses and lookups over the pairs."""
    misses = lookups = 0
    for i, (old, new) in enumerate(PAIRS):
        command = [program, "run", model, "--raw", "--temperature", "0", "--residency", "exact", "--capacity", str(capacity), "--speculation", "off",
                   "--max-tokens", str(token_count), "--ignore-eos", "--json", "-p", text_of(prompts[old], i, 2),
                   "-p", text_of(prompts[new], i + 3, text_count)]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        statistics = json.loads(result.stdout)["answers"][1]["statistics"]
        misses += statistics["expert_misses"]
        lookups += statistics["expert_misses"] + statistics["expert_hits"]
    return misses, lookups


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("programs", nargs="+", metavar="PROGRAM")
    parser.add_argument("--model", default=str(ROOT / "models" / "sprout-89m-4bit"))
    parser.add_argument("--capacity", type=numbers, default=[24, 48, 80])
    parser.add_argument("--texts", type=numbers, default=[1, 4], help="texts in the second prompt")
    parser.add_argument("--tokens", type=int, default=30)
    options = parser.parse_args()
    prompts = json.loads(pathlib.Path(options.model, "prompts.json").read_text())
    print("capacity texts  misses lookups      rate  program")
    for capacity in options.capacity:
        for text_count in options.texts:
            for program in options.programs:
                misses, lookups = count_misses(program, options.model, prompts, capacity, text_count, options.tokens)
                print(f"{capacity:8} {text_count:5} {misses:7} {lookups:7} {100 * misses / lookups:7.1f} %  {program}")


if __name__ == "__main__":
    main()
