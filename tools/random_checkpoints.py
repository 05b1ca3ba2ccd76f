"""Random tiny qwen3_next checkpoints, in the many ways in which a geometry and its weights are spelled on disk.

Used by fuzz_geometries.py. Everything is drawn from the random.Random that a function is given.
"""

import json

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

MX_TYPES = {"F32": mx.float32, "F16": mx.float16, "BF16": mx.bfloat16}
CONFIG_TYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
BITS, GROUP_SIZES = (1, 2, 3, 4, 5, 6, 8), (32, 64, 128)
NORMS = ("input_layernorm.weight", "post_attention_layernorm.weight", "model.norm.weight", "q_norm.weight",
         "k_norm.weight")


def draw_geometry(rng, quantised):
    """config.json's fields that say what is computed, in transformers 4's spelling."""
    if quantised:
        def size(): return rng.choice((32, 64, 96, 128, 160, 192, 256))
    else:
        def size(): return rng.choice((1, 3, 7, 16, 24, 32, 33, 48, 64, 65, 96, 100, 127, 128, 130, 200))
    layers = rng.choice((1, 1, 2, 3, 4, 5, 7))
    kv_heads, k_heads = rng.choice((1, 2, 3)), rng.choice((1, 2, 3))
    experts = rng.choice((1, 2, 3, 5, 8, 13, 16, 31, 70))
    head_dim = rng.choice((32, 64)) if quantised else 2 * rng.randint(1, 40)
    rotary_dim = rng.choice((2, 2 * rng.randint(1, head_dim // 2), head_dim))
    return {
        "model_type": "qwen3_next", "architectures": ["Qwen3NextForCausalLM"], "hidden_act": "silu",
        "vocab_size": rng.choice((2, 17, 97, 128, 257, 384)), "hidden_size": size(),
        "intermediate_size": size(), "num_hidden_layers": layers,
        "num_attention_heads": kv_heads * rng.choice((1, 2, 4, 8)), "num_key_value_heads": kv_heads,
        "head_dim": head_dim, "partial_rotary_factor": rotary_dim / head_dim,
        "rope_theta": rng.choice((100.0, 10000.0, 5e6)), "rms_norm_eps": rng.choice((1e-6, 1e-5, 1e-3)),
        "linear_num_key_heads": k_heads, "linear_num_value_heads": k_heads * rng.choice((1, 2, 3, 4)),
        "linear_key_head_dim": rng.choice((8, 16, 32, 40, 128)) if quantised else rng.randint(1, 70),
        "linear_value_head_dim": rng.choice((32, 64, 96)) if quantised else rng.randint(1, 70),
        "linear_conv_kernel_dim": rng.choice((1, 2, 3, 4, 4, 5, 6)),
        "num_experts": experts, "num_experts_per_tok": rng.choice((1, min(2, experts), rng.randint(1, experts), experts)),
        "moe_intermediate_size": size(), "shared_expert_intermediate_size": size(),
        "norm_topk_prob": rng.random() < 0.7, "decoder_sparse_step": rng.choice((1, 1, 1, 2)),
        "mlp_only_layers": sorted(rng.sample(range(layers), rng.randint(0, layers))) if rng.random() < 0.25 else [],
        "tie_word_embeddings": rng.random() < 0.3, "attention_bias": rng.random() < 0.15,
        "max_position_embeddings": 4096,
        "layer_types": [rng.choice(("linear_attention", "full_attention")) for _ in range(layers)]
        if rng.random() < 0.3 else intervals(layers, rng.randint(1, layers + 1)),
    }


def intervals(layers, interval):
    return ["linear_attention" if (i + 1) % interval else "full_attention" for i in range(layers)]


def is_moe(config, layer):
    return layer not in config["mlp_only_layers"] and (layer + 1) % config["decoder_sparse_step"] == 0


def draw_weights(rng, config):
    """Hugging Face's names, norms zero-centred, an expert's matrices apart. float32."""
    weights = {}
    generator = np.random.default_rng(rng.getrandbits(32))

    def normal(name, *shape, scale=None, mean=0.0):
        scale = 1.2 / np.sqrt(shape[-1]) if scale is None else scale
        weights[name] = (mean + scale * generator.standard_normal(shape)).astype(np.float32)

    def mlp(path, inner):
        normal(f"{path}.gate_proj.weight", inner, hidden)
        normal(f"{path}.up_proj.weight", inner, hidden)
        normal(f"{path}.down_proj.weight", hidden, inner)

    hidden, head_dim = config["hidden_size"], config["head_dim"]
    q, kv = config["num_attention_heads"] * head_dim, config["num_key_value_heads"] * head_dim
    value_heads, value_dim = config["linear_num_value_heads"], config["linear_value_head_dim"]
    keys = config["linear_num_key_heads"] * config["linear_key_head_dim"]
    values = value_heads * value_dim
    # Small, so that layers have their say where logits are products with it.
    normal("model.embed_tokens.weight", config["vocab_size"], hidden, scale=0.1)
    normal("model.norm.weight", hidden, scale=0.1)
    if not config["tie_word_embeddings"]:
        normal("lm_head.weight", config["vocab_size"], hidden)
    for layer, kind in enumerate(config["layer_types"]):
        at = f"model.layers.{layer}"
        normal(f"{at}.input_layernorm.weight", hidden, scale=0.1)
        normal(f"{at}.post_attention_layernorm.weight", hidden, scale=0.1)
        if kind == "full_attention":
            for name, out, width in (("q", 2 * q, hidden), ("k", kv, hidden), ("v", kv, hidden), ("o", hidden, q)):
                normal(f"{at}.self_attn.{name}_proj.weight", out, width)
                if config["attention_bias"]:
                    normal(f"{at}.self_attn.{name}_proj.bias", out, scale=0.3)
            normal(f"{at}.self_attn.q_norm.weight", head_dim, scale=0.1)
            normal(f"{at}.self_attn.k_norm.weight", head_dim, scale=0.1)
        else:
            normal(f"{at}.linear_attn.in_proj_qkvz.weight", 2 * keys + 2 * values, hidden)
            normal(f"{at}.linear_attn.in_proj_ba.weight", 2 * value_heads, hidden)
            normal(f"{at}.linear_attn.conv1d.weight", 2 * keys + values, 1, config["linear_conv_kernel_dim"], scale=0.5)
            weights[f"{at}.linear_attn.A_log"] = np.log(generator.uniform(0.1, 8, value_heads)).astype(np.float32)
            normal(f"{at}.linear_attn.dt_bias", value_heads, scale=1.0)
            normal(f"{at}.linear_attn.norm.weight", value_dim, scale=0.1, mean=1.0)
            normal(f"{at}.linear_attn.out_proj.weight", hidden, values)
        if not is_moe(config, layer):
            mlp(f"{at}.mlp", config["intermediate_size"])
            continue
        normal(f"{at}.mlp.gate.weight", config["num_experts"], hidden, scale=2 / np.sqrt(hidden))
        for expert in range(config["num_experts"]):
            mlp(f"{at}.mlp.experts.{expert}", config["moe_intermediate_size"])
        mlp(f"{at}.mlp.shared_expert", config["shared_expert_intermediate_size"])
        normal(f"{at}.mlp.shared_expert_gate.weight", 1, hidden)
    return weights


def to_mlx(config, weights):
    """As mlx_lm.convert changes names, shapes and norms."""
    out = {}
    for name, value in weights.items():
        if name.endswith(NORMS):
            value = value + 1.0
        if "conv1d" in name:
            value = value.swapaxes(1, 2)
        if ".experts." not in name:
            out[name] = value
    for layer in range(config["num_hidden_layers"]):
        for matrix in ("gate_proj", "up_proj", "down_proj") if is_moe(config, layer) else ():
            out[f"model.layers.{layer}.mlp.switch_mlp.{matrix}.weight"] = stack(config, weights, layer, matrix)
    return out


def stack(config, weights, layer, matrix):
    names = (f"model.layers.{layer}.mlp.experts.{e}.{matrix}.weight" for e in range(config["num_experts"]))
    return np.stack([weights[name] for name in names])


def fuse(config, weights, spelling, suffix=""):
    """An expert's matrices apart -> all experts of a layer in two tensors."""
    out = {name: value for name, value in weights.items() if ".experts." not in name}
    for layer in range(config["num_hidden_layers"]):
        if is_moe(config, layer):
            gate, up, down = (stack(config, weights, layer, m) for m in ("gate_proj", "up_proj", "down_proj"))
            gate_up = np.concatenate([gate, up], axis=1)
            if spelling == "transposed":
                gate_up, down = gate_up.swapaxes(1, 2), down.swapaxes(1, 2)
            out[f"model.layers.{layer}.mlp.experts.gate_up_proj{suffix}"] = gate_up
            out[f"model.layers.{layer}.mlp.experts.down_proj{suffix}"] = down
    return out


def spell_config(rng, config):
    """One of the ways in which config.json may say the same."""
    out = dict(config)
    if rng.random() < 0.5:  # transformers 5
        out["rope_parameters"] = {rng.choice(("rope_type", "type")): "default", "rope_theta": out.pop("rope_theta"),
                                  "partial_rotary_factor": out.pop("partial_rotary_factor")}
    else:
        out["rope_scaling"] = None
    for interval in range(1, config["num_hidden_layers"] + 2):
        if config["layer_types"] == intervals(config["num_hidden_layers"], interval) and rng.random() < 0.7:
            out["full_attention_interval"] = interval
            del out["layer_types"]
            break
    if "layer_types" in out and rng.random() < 0.5:
        aliases = {"linear_attention": "mamba", "full_attention": "attention"}
        out["layer_types"] = [aliases[kind] for kind in out["layer_types"]]
    for name, default in (("decoder_sparse_step", 1), ("mlp_only_layers", []), ("tie_word_embeddings", False),
                          ("attention_bias", False), ("norm_topk_prob", True)):
        if out[name] == default and rng.random() < 0.3:
            del out[name]
    vocab_size = config["vocab_size"]
    out["eos_token_id"] = rng.choice((None, 0, [0, vocab_size - 1]))
    return out


def write_shards(rng, folder, tensors, metadata):
    """One file or several, with an index or without."""
    names = list(tensors)
    rng.shuffle(names)
    count = min(rng.choice((1, 1, 2, 3)), len(names))
    weight_map = {}
    for shard in range(count):
        file = "model.safetensors" if count == 1 else f"model-{shard + 1:05}-of-{count:05}.safetensors"
        part = {name: tensors[name] for name in names[shard::count]}
        mx.save_safetensors(str(folder / file), part, metadata=metadata)
        weight_map.update(dict.fromkeys(part, file))
    if rng.random() < 0.5:
        (folder / "model.safetensors.index.json").write_text(
            json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))


def write_hugging_face(rng, folder, config, weights, dtype):
    spelling = rng.choice(("separate", "fused", "transposed"))
    spelled = weights if spelling == "separate" else fuse(config, weights, spelling, rng.choice(("", ".weight")))
    tensors = {name: mx.array(value).astype(MX_TYPES[dtype]) for name, value in spelled.items()}
    for name in tensors if rng.random() < 0.3 else ():
        if name.endswith((".A_log", ".dt_bias", "norm.weight")):
            tensors[name] = mx.array(spelled[name])
    if rng.random() < 0.3:
        tensors["mtp.fc.weight"] = mx.zeros((3, 5))
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = mx.zeros((4,))
    if config["tie_word_embeddings"] and rng.random() < 0.5:
        tensors["lm_head.weight"] = mx.ones((config["vocab_size"], config["hidden_size"]))
    spelled_config = {**spell_config(rng, config), rng.choice(("dtype", "torch_dtype")): CONFIG_TYPES[dtype]}
    (folder / "config.json").write_text(json.dumps(spelled_config))
    write_shards(rng, folder, tensors, rng.choice(({"format": "pt"}, None)))
    return spelling


def write_mlx(rng, folder, config, model, quantised):
    """Quantises `model` as it goes. The config tells the truth about the modules that it lists, and only about them."""
    listed, default = {}, {"group_size": rng.choice(GROUP_SIZES), "bits": rng.choice(BITS)}

    def choose(path, module):
        if not hasattr(module, "to_quantized"):
            return False
        width = module.weight.shape[-1]
        groups = [g for g in GROUP_SIZES if width % g == 0]
        if not groups or rng.random() < 0.1:
            if rng.random() < 0.3:
                listed[path] = rng.choice((False, None))
            return False
        chosen = {"group_size": rng.choice(groups), "bits": rng.choice(BITS)}
        if default["group_size"] in groups and rng.random() < 0.3:
            chosen = dict(default)
            if rng.random() < 0.5:
                listed[path] = True
        elif rng.random() < 0.6:
            listed[path] = {**chosen, "mode": "affine"} if rng.random() < 0.3 else dict(chosen)
            if chosen["group_size"] == 64 and rng.random() < 0.5:
                listed[path]["group_size"] = None
        return chosen

    spelled = spell_config(rng, config)
    if quantised:
        nn.quantize(model, class_predicate=choose)
        if listed or rng.random() < 0.6:
            spelled["quantization"] = {**default, **listed}
            if rng.random() < 0.5:
                spelled["quantization_config"] = spelled["quantization"]
    (folder / "config.json").write_text(json.dumps(spelled))
    write_shards(rng, folder, dict(tree_flatten(model.parameters())), {"format": "mlx"})
