"""The shipped model as GGUF, requantised by gguf-py to Q8_0 and by llama.cpp to Q4_K_M (whose rows of other widths than 256
have types of shorter blocks): what it says is what the same weights say, read back from the file into floats."""

import importlib.util
import json
import pathlib
import sys
import tempfile

import program

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import to_gguf  # noqa: E402

SPROUT = ROOT / "models" / "sprout-89m-4bit"
PROMPTS = ["Once upon a time", "The capital of France is", "def add(a, b):\n", "Wasser ist"]
TOKENS = 32

types = ["q8_0"]
if importlib.util.find_spec("llama_cpp"):
    types.append("q4_k_m")
else:
    print("q4_k_m is left out: llama-cpp-python is not installed")

with tempfile.TemporaryDirectory() as folder:
    for name in types:
        quantised, floats = (pathlib.Path(folder, f"{name}{suffix}.gguf") for suffix in ("", "-f32"))
        to_gguf.convert(SPROUT, quantised, name)
        to_gguf.convert(quantised, floats, "f32")
        for prompt in PROMPTS:
            if json.loads(program.call("tokenize", quantised, "--text", prompt)) != json.loads(
                    program.call("tokenize", SPROUT, "--text", prompt)):
                sys.exit(f"{name}: {prompt!r} has other tokens than in the checkpoint")
            got = program.continue_greedily(quantised, prompt, TOKENS)
            expected = program.continue_greedily(floats, prompt, TOKENS)
            if got != expected:
                sys.exit(f"{name}: {prompt!r} continues {got[1]!r}, its weights as floats {expected[1]!r}")
            print(f"{name}: {prompt!r} continues {got[1]!r}")
        quantised.unlink()
        floats.unlink()
