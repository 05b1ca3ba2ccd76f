"""The flash-moe program under test."""

import json
import os
import subprocess
import sys


def call(command, model, *arguments):
    full = [os.environ["FLASHMOE_PROGRAM"], command, str(model), *map(str, arguments)]
    done = subprocess.run(full, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(full)}: exit status {done.returncode}\n{done.stderr}")
    return done.stdout


def continue_greedily(model, prompt, token_count):
    """The token ids and the text behind a prompt, and how many tokens that was."""
    done = json.loads(call(
        "run", model, "--raw", "-p", prompt, "--max-tokens", token_count, "--temperature", 0, "--ignore-eos", "--json"))
    return done["token_ids"], done["text"], done["statistics"]["prompt_tokens"]
