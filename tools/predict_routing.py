#!/usr/bin/env python3
"""How well can a layer's experts be told one mixer ahead, and what would reading them then be worth?

The guess: the layer's own router on the residual stream as the layer before left it, so without what the layer's mixer
adds. Compared with what the router then picks, over a text, and over the misses of a cache of LRU per layer.
Needs a checkpoint whose routers are affine 8-bit or float, and mlx (`make venv`).
usage: .venv/bin/python tools/predict_routing.py --text-file FILE [--model DIR] [--tokens 600] [--slots 16,32,64]
"""

import argparse
import collections
import json
import pathlib
import subprocess
import tempfile

import mlx.core as mx
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Tokens that fill the caches before misses count.
WARM_UP = 100


def run(binary, *arguments):
    return subprocess.run([binary, *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def observe(binary, model, text_file, token_count):
    """The residual stream between layers, [layers + 1, tokens, hidden], and the routers' picks, [layers, tokens, k]."""
    ids = json.loads(run(binary, "tokenize", model, "--file", text_file))[:token_count]
    if len(ids) < 2 * WARM_UP:
        raise SystemExit(f"{text_file}: {len(ids)} tokens; give at least {2 * WARM_UP}")
    with tempfile.TemporaryDirectory() as folder:
        ids_file, out, trace = (pathlib.Path(folder, name) for name in ("ids.json", "out.safetensors", "trace.safetensors"))
        ids_file.write_text(json.dumps(ids))
        run(binary, "forward", model, "--ids-file", ids_file, "--out", out, "--hidden")
        run(binary, "run", model, "--ids-file", ids_file, "--max-tokens", 1, "--record-trace", trace, "--resident-set", "off")
        return np.array(mx.load(str(out))["hidden"]), np.array(mx.load(str(trace))["routing"]).astype(int)


def load_routers(model, layer_count):
    """Per layer the norm before the MLP, [hidden], and the router, [experts, hidden]."""
    tensors = {}
    for shard in sorted(model.glob("*.safetensors")):
        tensors.update(mx.load(str(shard)))
    prefix = next(name for name in tensors if name.endswith("layers.0.mlp.gate.weight")).split("layers.0.")[0]
    routers = []
    for layer in range(layer_count):
        gate, norm = f"{prefix}layers.{layer}.mlp.gate", f"{prefix}layers.{layer}.post_attention_layernorm.weight"
        weight = tensors[f"{gate}.weight"]
        if weight.dtype == mx.uint32:
            scales = tensors[f"{gate}.scales"]
            weight = mx.dequantize(weight, scales, tensors[f"{gate}.biases"], weight.shape[1] * 4 // scales.shape[1], 8)
        routers.append(tuple(np.array(t.astype(mx.float32)) for t in (tensors[norm], weight)))
    return routers


def guesses(hidden, norm, router, epsilon):
    """All experts of each token, the likeliest first."""
    normed = hidden / np.sqrt(np.mean(hidden**2, axis=-1, keepdims=True) + epsilon) * norm
    return np.argsort(-(normed @ router.T), axis=1, kind="stable")


def misses_ahead(picks, guessed, slots, depth):
    """Misses of one layer, those among the first `depth` guesses, and guesses that nobody wanted and nobody had."""
    cache, missed, covered, useless = collections.OrderedDict(), 0, 0, 0
    for token, (wanted, guess) in enumerate(zip(picks, guessed[:, :depth])):
        ahead = set(guess) - set(cache)
        if token >= WARM_UP:
            misses = set(wanted) - set(cache)
            missed, covered, useless = missed + len(misses), covered + len(misses & ahead), useless + len(ahead - set(wanted))
        for expert in reversed(wanted):
            cache[expert] = None
            cache.move_to_end(expert)
        while len(cache) > slots:
            cache.popitem(last=False)
    return np.array([missed, covered, useless])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text-file", required=True)
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models/sprout-89m-4bit")
    parser.add_argument("--binary", default=ROOT / "build/release/flash-moe")
    parser.add_argument("--tokens", type=int, default=600)
    parser.add_argument("--slots", default="16,32,64")
    options = parser.parse_args()

    hidden, picks = observe(options.binary, options.model, options.text_file, options.tokens)
    layer_count, token_count, k = picks.shape
    epsilon = json.loads((options.model / "config.json").read_text())["rms_norm_eps"]
    routers = load_routers(options.model, layer_count)
    layers = range(1, layer_count)
    guessed = {layer: guesses(hidden[layer][:token_count], *routers[layer], epsilon) for layer in layers}

    print(f"{token_count} tokens, {layer_count} layers, top {k} of {routers[0][1].shape[0]}")
    print("guesses  picks among them")
    for depth in (k // 2, 3 * k // 4, k, 3 * k // 2, 2 * k):
        among = [len(set(g[:depth]) & set(p)) / k for layer in layers for g, p in zip(guessed[layer], picks[layer])]
        print(f"{depth:7}  {np.mean(among):.3f}")
    print("slots  guesses  misses/token/layer  of them guessed  useless reads/miss")
    for slots in map(int, options.slots.split(",")):
        for depth in (k // 2, 3 * k // 4, k, 5 * k // 4):
            missed, covered, useless = sum(misses_ahead(picks[layer], guessed[layer], slots, depth) for layer in layers)
            per_layer = missed / (token_count - WARM_UP) / len(layers)
            print(f"{slots:5}  {depth:7}  {per_layer:18.2f}  {covered / missed:15.3f}  {useless / missed:18.3f}")


if __name__ == "__main__":
    main()
