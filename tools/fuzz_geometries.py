#!/usr/bin/env python3
"""Compares flash-moe with mlx-lm, and with transformers where it is installed, on random tiny qwen3_next checkpoints.

Every case draws a geometry, weights and a way to spell both on disk from its seed: Hugging Face (an expert's matrices
apart, fused, or fused and transposed) or MLX (floats, or affine at any width). Hidden states of every layer, logits and
greedy ids must agree. Needs mlx-lm (`make venv`); torch and transformers are optional.
usage: .venv/bin/python tools/fuzz_geometries.py [--binary build/release/flash-moe] [--first-seed 0] [--count 100]
"""

import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

import mlx.core as mx
import numpy as np
from mlx_lm.models import qwen3_next as mlx_family
from random_checkpoints import MX_TYPES, draw_geometry, draw_weights, fuse, to_mlx, write_hugging_face, write_mlx

try:
    import torch
    import transformers
except ImportError:
    torch = transformers = None

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Relative RMS of a layer's hidden state, or of the logits. Floats differ by the order of sums; with affine weights flash-moe
# multiplies 16-bit activations.
FLOAT_TOLERANCE = 5e-4
AFFINE_TOLERANCE = 2e-3
# Some random models make rounding errors large: a DeltaNet layer where q k is nearly 0, since a norm follows. Tolerances grow
# to this many times what such a change of the embeddings does to the reference itself.
NOISE, NOISE_FACTOR = 1e-5, 10
# Router logits closer than this may fall either way; what comes after is then not compared.
FLOAT_TIE, AFFINE_TIE = 1e-4, 5e-3
GREEDY_COUNT = 8
# A greedy id counts where the reference's best two logits are further apart than this.
GREEDY_MARGIN = 1e-2


def normalize_qk(q, k, inv_scale, eps):
    """As transformers normalises: mlx-lm adds eps to the mean of squares instead of their sum, which shows in short heads."""
    def unit(x): return x * mx.rsqrt((x * x).sum(axis=-1, keepdims=True) + eps)
    return inv_scale * unit(q), unit(k)


class MlxReference:
    """mlx-lm's layers, arranged as the config says."""

    def __init__(self, config, weights):
        mlx_family.normalize_qk = normalize_qk
        args = mlx_family.ModelArgs.from_dict({**config, "full_attention_interval": 1})
        self.model = mlx_family.Model(args)
        core = self.model.model
        for layer, kind in enumerate(config["layer_types"]):
            interval = 1 if kind == "full_attention" else config["num_hidden_layers"] + 1
            layer_args = mlx_family.ModelArgs.from_dict({**config, "full_attention_interval": interval})
            core.layers[layer] = mlx_family.Qwen3NextDecoderLayer(layer_args, layer)
        self.model.load_weights([(name, mx.array(value)) for name, value in to_mlx(config, weights).items()])

    def __call__(self, ids, noise=0.0):
        """Hidden states [layers + 1, T, hidden], the last after the final norm; logits [T, vocab]."""
        core = self.model.model
        x = core.embed_tokens(mx.array([ids]))
        x = x * (1 + noise * mx.random.normal(x.shape, key=mx.random.key(0)))
        hidden, self.margins = [x], []
        for layer in core.layers:
            mask = None if layer.is_linear or len(ids) == 1 else "causal"
            self.margins.append(self.router_margin(layer, x, mask))
            x = layer(x, mask=mask)
            hidden.append(x)
        hidden[-1] = core.norm(x)
        tied = self.model.args.tie_word_embeddings
        logits = core.embed_tokens.as_linear(hidden[-1]) if tied else self.model.lm_head(hidden[-1])
        return np.concatenate([np.array(h) for h in hidden]), np.array(logits[0])

    @staticmethod
    def router_margin(layer, x, mask):
        """How close a layer's router was, at any position, to choosing another expert."""
        if not hasattr(layer.mlp, "gate") or layer.mlp.top_k == layer.mlp.num_experts:
            return float("inf")
        mixer = layer.linear_attn if layer.is_linear else layer.self_attn
        routed = layer.mlp.gate(layer.post_attention_layernorm(x + mixer(layer.input_layernorm(x), mask, None)))
        ranked = np.sort(np.array(routed[0]), axis=-1)[:, ::-1]
        return float((ranked[:, layer.mlp.top_k - 1] - ranked[:, layer.mlp.top_k]).min())


def transformers_reference(config, weights, ids):
    """The same as MlxReference computes, by transformers."""
    known = {k: v for k, v in config.items() if k not in ("rope_theta", "partial_rotary_factor", "architectures")}
    known["rope_parameters"] = {"rope_type": "default", "rope_theta": config["rope_theta"],
                                "partial_rotary_factor": config["partial_rotary_factor"]}
    model = transformers.Qwen3NextForCausalLM(transformers.Qwen3NextConfig(**known, pad_token_id=None)).float().eval()
    state = {name: torch.tensor(value) for name, value in fuse(config, weights, "fused").items()}
    if config["tie_word_embeddings"]:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state)
    with torch.no_grad():
        out = model(torch.tensor([ids]), output_hidden_states=True)
    return np.concatenate([h.numpy() for h in out.hidden_states]), out.logits[0].numpy()


class Engine:
    """The flash-moe program on one model."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder

    def call(self, command, *arguments):
        done = subprocess.run([self.binary, command, self.folder, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{command}: exit status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def forward(self, ids_file, *arguments):
        out = self.folder / "out.safetensors"
        self.call("forward", "--ids-file", ids_file, "--out", out, "--hidden", *arguments)
        tensors = mx.load(str(out))
        return np.array(tensors["hidden"]), np.array(tensors["logits"])

    def greedy(self, ids_file):
        return json.loads(self.call("run", "--ids-file", ids_file, "--max-tokens", GREEDY_COUNT, "--temperature", 0,
                                    "--ignore-eos", "--json"))["token_ids"]


def worst(got, expected):
    """The largest relative RMS of a layer."""
    if got.shape != expected.shape or not np.isfinite(got).all():
        return float("inf")
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    squares = np.mean((got - expected) ** 2, axis=(-2, -1)) / np.maximum(np.mean(expected**2, axis=(-2, -1)), 1e-12)
    return float(np.sqrt(squares.max()))


def check_greedy(reference, ids, tie, got):
    """None, or what is wrong with a greedy continuation."""
    ids = list(ids)
    for step in range(GREEDY_COUNT):
        logits = reference(ids)[1][-1]
        if min(reference.margins) < tie:
            return None
        best, second = np.sort(logits)[::-1][:2]
        expected = int(np.argmax(logits))
        if got[step : step + 1] != [expected]:
            return f"greedy id {step} of {got} should be {expected}" if best - second > GREEDY_MARGIN else None
        ids.append(expected)
    return None


def check_settings(rng, engine, ids_file, hidden, logits):
    """What changes, bit by bit, at the smallest budget and under other settings that must not matter."""
    chunk = rng.choice((1, 2, 5, 16, 64))
    least = json.loads(engine.call("inspect", "--json", "--context", 256, "--prefill-chunk", chunk))["budget_bytes_min"]
    failures = []
    for settings in (("--threads", 1, "--io", "pread"), ("--threads", 3, "--io", "auto")):
        flags = ("--memory", least, "--context", 256, "--prefill-chunk", chunk, *settings)
        other_hidden, other_logits = engine.forward(ids_file, *flags)
        if other_hidden.tobytes() != hidden.tobytes() or other_logits.tobytes() != logits.tobytes():
            failures.append(f"other bits with {' '.join(map(str, flags))}")
    return failures


def run_case(seed, binary, folder):
    """Returns a description of the case and a list of what is wrong."""
    rng = random.Random(seed)
    kind = rng.choice(("hugging_face", "hugging_face", "mlx", "affine", "affine"))
    config = draw_geometry(rng, kind == "affine")
    dtype = rng.choice(tuple(MX_TYPES))
    weights = {name: np.array(mx.array(value).astype(MX_TYPES[dtype]).astype(mx.float32))
               for name, value in draw_weights(rng, config).items()}
    reference = MlxReference(config, weights)
    if kind == "hugging_face":
        kind = write_hugging_face(rng, folder, config, weights, dtype)
    else:
        reference.model.set_dtype(MX_TYPES[dtype])
        write_mlx(rng, folder, config, reference.model, kind == "affine")
        reference.model.set_dtype(mx.float32)
    ids = [rng.randrange(config["vocab_size"]) for _ in range(rng.choice((1, 2, 3, 17, 40, 150)))]
    ids_file = folder / "ids.json"
    ids_file.write_text(json.dumps(ids))

    tolerance = AFFINE_TOLERANCE if kind == "affine" else FLOAT_TOLERANCE
    failures = []
    tolerance = max(tolerance, NOISE_FACTOR * worst(reference(ids, NOISE)[0], reference(ids)[0]))
    engine = Engine(binary, folder)
    hidden, logits = engine.forward(ids_file)
    expected = {"mlx-lm": reference(ids)}
    tie = AFFINE_TIE if kind == "affine" else FLOAT_TIE
    tied = next((i for i, margin in enumerate(reference.margins) if margin < tie), None)
    if transformers is not None and kind not in ("mlx", "affine"):
        expected["transformers"] = transformers_reference(config, weights, ids)
    for name, (reference_hidden, reference_logits) in expected.items():
        compared = [("hidden", worst(hidden[: tied + 1], reference_hidden[: tied + 1]))] if tied is not None else [
            ("hidden", worst(hidden, reference_hidden)), ("logits", worst(logits, reference_logits))]
        for what, error in compared:
            if not error <= tolerance:
                failures.append(f"{what} differ from those of {name} by {error:.1e}")
    if tied is None and (wrong := check_greedy(reference, ids, tie, engine.greedy(ids_file))):
        failures.append(wrong)
    failures.extend(check_settings(rng, engine, ids_file, hidden, logits))
    return f"{kind} {dtype}" + (", tied" if tied is not None else ""), failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=ROOT / "build/release/flash-moe", type=pathlib.Path)
    parser.add_argument("--first-seed", default=0, type=int)
    parser.add_argument("--count", default=100, type=int)
    parser.add_argument("--keep", type=pathlib.Path, help="folder for the checkpoints of failed cases")
    options = parser.parse_args()

    mx.set_default_device(mx.cpu)
    failed, kinds = 0, {}
    for seed in range(options.first_seed, options.first_seed + options.count):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            try:
                kind, failures = run_case(seed, options.binary.resolve(), folder)
            except RuntimeError as error:
                kind, failures = "refused", [str(error)]
            kinds[kind] = kinds.get(kind, 0) + 1
            print(f"seed {seed}: {kind}: {'; '.join(failures) or 'agrees'}", flush=True)
            if failures:
                failed += 1
                if options.keep:
                    shutil.copytree(folder, options.keep / str(seed), dirs_exist_ok=True)
    print(f"{options.count} cases, {failed} failed; {kinds}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
