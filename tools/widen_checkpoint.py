#!/usr/bin/env python3
"""Writes a model that computes what a small one computes, in matrices as wide as a large one's.

Every wide row is the narrow one repeated, and what sums over a repeated row is scaled down: the same function, to
rounding, and so the same routing, over as many bytes as one likes. It is for measurements that need both a trained
model's router and a large model's sizes, as those of speculative reads. Factors are powers of two, by which scales
divide exactly; quantised weights are repeated as they are. Takes qwen3_next checkpoints in MLX layout, with BF16
scales; needs nothing but Python.
usage: tools/widen_checkpoint.py OUT [--model DIR] [--hidden 4] [--heads 8] [--inner 8]
"""

import argparse
import array
import json
import math
import pathlib
import shutil
import struct

ROOT = pathlib.Path(__file__).resolve().parent.parent


def read_safetensors(path):
    """(name, dtype, shape, bytes) of every tensor."""
    data = path.read_bytes()
    (header_size,) = struct.unpack_from("<Q", data)
    begin = 8 + header_size
    for name, tensor in json.loads(data[8:begin]).items():
        if name != "__metadata__":
            first, last = tensor["data_offsets"]
            yield name, tensor["dtype"], tensor["shape"], data[begin + first : begin + last]


def write_safetensors(path, tensors):
    header, offset = {"__metadata__": {"format": "mlx"}}, 0
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, _, data in tensors:
            file.write(data)


def divide_bf16(data, divisor):
    """By a power of two: less in the exponent, bits 7 to 14."""
    shift = (divisor.bit_length() - 1) << 7
    values = array.array("H", data)
    for i, value in enumerate(values):
        if value & 0x7FFF:
            if value & 0x7F80 <= shift:
                raise SystemExit("a scale is too small to be divided")
            values[i] = value - shift
    return values.tobytes()


def tile(shape, data, rows, columns):
    """The last two dimensions of a tensor `rows` and `columns` times."""
    *outer, height, width = shape
    row_size = len(data) // (height * math.prod(outer))
    matrices = []
    for begin in range(0, len(data), height * row_size):
        wide = b"".join(data[at : at + row_size] * columns for at in range(begin, begin + height * row_size, row_size))
        matrices.append(wide * rows)
    return [*outer, height * rows, width * columns], b"".join(matrices)


def repeats(factors):
    """By the last part of a matrix' name: how often its rows and its columns repeat."""
    hidden, heads, inner = factors.hidden, factors.heads, factors.inner
    into_heads, out_of_heads = (heads, hidden), (hidden, heads)
    into_mlp, out_of_mlp = (inner, hidden), (hidden, inner)
    return {
        **dict.fromkeys(("embed_tokens", "lm_head", "gate", "shared_expert_gate"), (1, hidden)),
        **dict.fromkeys(("q_proj", "k_proj", "v_proj", "in_proj_qkvz", "in_proj_ba"), into_heads),
        **dict.fromkeys(("o_proj", "out_proj"), out_of_heads),
        **dict.fromkeys(("gate_proj", "up_proj"), into_mlp),
        "down_proj": out_of_mlp,
    }


def widen(name, dtype, shape, data, config, factors):
    parts = name.split(".")
    owner, field = parts[-2], parts[-1]
    if owner in repeats(factors):
        rows, columns = repeats(factors)[owner]
        # Sums over a repeated row grow with it; a row of the embedding is not summed.
        if field in ("scales", "biases") and owner != "embed_tokens" and dtype == "BF16":
            data = divide_bf16(data, columns)
        elif dtype != "U32" and owner != "embed_tokens":
            raise SystemExit(f"{name}: {dtype}; only quantised matrices with BF16 scales can be widened")
        shape, data = tile(shape, data, rows, columns)
    elif owner == "conv1d":  # channels: those of all q, then all k, then all v
        channel = len(data) // shape[0]
        keys = config["linear_num_key_heads"] * config["linear_key_head_dim"] * channel
        data = data[:keys] * factors.heads + data[keys : 2 * keys] * factors.heads + data[2 * keys :] * factors.heads
        shape = [shape[0] * factors.heads, *shape[1:]]
    elif owner in ("input_layernorm", "post_attention_layernorm") or name == "model.norm.weight":
        shape, data = [shape[0] * factors.hidden], data * factors.hidden
    elif field in ("A_log", "dt_bias"):
        shape, data = [shape[0] * factors.heads], data * factors.heads
    return name, dtype, shape, data  # else a norm over one head


def widen_config(config, factors):
    config = dict(config, tie_word_embeddings=False)
    config["hidden_size"] *= factors.hidden
    for name in ("num_attention_heads", "num_key_value_heads", "linear_num_key_heads", "linear_num_value_heads"):
        config[name] *= factors.heads
    for name in ("intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size"):
        config[name] *= factors.inner
    return config


def power_of_two(text):
    value = int(text)
    if value < 1 or value & (value - 1):
        raise argparse.ArgumentTypeError(f"{text} is not a power of two")
    return value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models/sprout-89m-4bit")
    parser.add_argument("--hidden", type=power_of_two, default=4, help="times as wide a residual stream (4)")
    parser.add_argument("--heads", type=power_of_two, default=8, help="times as many attention and DeltaNet heads (8)")
    parser.add_argument("--inner", type=power_of_two, default=8, help="times as wide MLPs inside (8)")
    options = parser.parse_args()

    config = json.loads((options.model / "config.json").read_text())
    if config["model_type"] != "qwen3_next":
        raise SystemExit(f"{options.model}: a {config['model_type']}; only qwen3_next can be widened")
    options.out.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        if (options.model / name).exists():
            shutil.copy(options.model / name, options.out)
    (options.out / "config.json").write_text(json.dumps(widen_config(config, options), indent=2) + "\n")
    for shard in sorted(options.model.glob("model*.safetensors")):
        wide = []
        for name, *tensor in read_safetensors(shard):
            wide.append(widen(name, *tensor, config, options))
            if config["tie_word_embeddings"] and name.startswith("model.embed_tokens."):
                wide.append(widen(name.replace("model.embed_tokens", "lm_head"), *tensor, config, options))
        write_safetensors(options.out / shard.name, wide)


if __name__ == "__main__":
    main()
