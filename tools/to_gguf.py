#!/usr/bin/env python3
"""Writes a qwen3_next checkpoint in MLX layout as GGUF, with its tokenizer, to run the same model by llama.cpp.

Matrices of 4 bits become Q4_0 (llama.cpp's fastest type; requantised, so not quite the same weights) or, asked, Q8_0, F16
or F32; those of 8 bits (routers) and everything else F32, as llama.cpp's own converter has it. With q4_k_m llama.cpp's
quantiser chooses the types. A GGUF file in place of the checkpoint is read back: its weights, exactly, as F32.
Needs numpy and gguf, and llama-cpp-python for q4_k_m (`make venv-llama`).
usage: .venv/bin/python tools/to_gguf.py MODEL OUT.gguf [--type q4_0]
       .venv/bin/python tools/to_gguf.py FILE.gguf OUT.gguf --type f32
"""

import argparse
import ctypes
import json
import pathlib
import tempfile

import gguf
import numpy as np

TYPES = {name: gguf.GGMLQuantizationType[name.upper()] for name in ("q4_0", "q8_0", "f16", "f32")}
# llama.cpp's mixtures of types, with the numbers that its quantiser knows them by.
MIXTURES = {"q4_k_m": 15}

# Names below a layer; in_proj_qkvz is taken apart (split_qkvz).
LAYER_TENSORS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "linear_attn.conv1d": "ssm_conv1d",
    "linear_attn.in_proj_ba": "ssm_ba",
    "linear_attn.norm": "ssm_norm",
    "linear_attn.out_proj": "ssm_out",
    "mlp.gate": "ffn_gate_inp",
    "mlp.switch_mlp.gate_proj": "ffn_gate_exps",
    "mlp.switch_mlp.up_proj": "ffn_up_exps",
    "mlp.switch_mlp.down_proj": "ffn_down_exps",
    "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
    "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp",
}
OUTER_TENSORS = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def bf16_to_f32(values):
    return (values.astype(np.uint32) << 16).view(np.float32)


class Checkpoint:
    """Tensors of all shards of a model folder, memory mapped."""

    def __init__(self, folder):
        self.folder = folder
        self.config = json.loads((folder / "config.json").read_text())
        self.tensors = {}
        for path in sorted(folder.glob("*.safetensors")):
            with path.open("rb") as file:
                header_size = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(header_size))
            for name, tensor in header.items():
                if name.startswith(("model.", "lm_head.")):
                    self.tensors[name] = (path, 8 + header_size, tensor)

    def read(self, name):
        path, begin, tensor = self.tensors[name]
        dtype = {"BF16": np.uint16, "F16": np.float16, "F32": np.float32, "U32": np.uint32}[tensor["dtype"]]
        data = np.memmap(path, dtype, "r", begin + tensor["data_offsets"][0], tuple(tensor["shape"]))
        return data if tensor["dtype"] == "U32" else bf16_to_f32(data) if tensor["dtype"] == "BF16" else data

    def bits(self, name):
        settings = self.config["quantization"]
        return settings.get(name, settings)["bits"]

    def matrices(self, name):
        """Of a quantised tensor one matrix after the other, as float32."""
        packed, scales, biases = (self.read(f"{name}.{part}") for part in ("weight", "scales", "biases"))
        bits = self.bits(name)
        if bits not in (4, 8):
            raise SystemExit(f"{name} has {bits} bits; 4 and 8 can be converted")
        shifts = np.arange(0, 32, bits, dtype=np.uint32)
        for weight, scale, bias in zip(*(a.reshape(-1, *a.shape[-2:]) for a in (packed, scales, biases))):
            q = (weight[..., None] >> shifts) & np.uint32((1 << bits) - 1)
            q = q.reshape(*scale.shape, -1).astype(np.float32)
            yield (q * scale[..., None] + bias[..., None]).reshape(weight.shape[0], -1)


def read_json(path):
    return json.loads(path.read_text()) if path.exists() else {}


def add_tokenizer(writer, folder, vocab_size):
    """The byte-level tokenizer of a folder; without one, or without merges, which gguf-py cannot write as an empty list and
    llama.cpp asks for, the file is for token ids alone."""
    tokenizer = read_json(folder / "tokenizer.json")
    if not tokenizer or not tokenizer["model"]["merges"]:
        writer.add_tokenizer_model("none")
        return
    tokens = [f"<|unused{i}|>" for i in range(vocab_size)]
    types = [gguf.TokenType.UNUSED] * vocab_size
    for token, i in tokenizer["model"]["vocab"].items():
        tokens[i], types[i] = token, gguf.TokenType.NORMAL
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    # The only patterns that checkpoints of this family have: Qwen's, and ByteLevel's own.
    has_pattern = "Split" in json.dumps(tokenizer["pre_tokenizer"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2" if has_pattern else "gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]])
    ends = read_json(folder / "generation_config.json").get("eos_token_id", [])
    ends = ends if isinstance(ends, list) else [ends]
    for add, i in zip((writer.add_eos_token_id, writer.add_eot_token_id), ends):
        add(i)
    writer.add_add_bos_token(False)
    template = folder / "chat_template.jinja"
    if template.exists():
        writer.add_chat_template(template.read_text())


class Converter:
    def __init__(self, checkpoint, out, matrix_type):
        self.checkpoint, self.matrix_type = checkpoint, matrix_type
        self.writer = gguf.GGUFWriter(out, "qwen3next")

    def add(self, name, values):
        self.writer.add_tensor(name, np.ascontiguousarray(values, np.float32))

    def add_matrices(self, name, matrices, outer_shape=()):
        matrices = [gguf.quants.quantize(m, self.matrix_type) for m in matrices]
        self.writer.add_tensor(
            name, np.stack(matrices).reshape(*outer_shape, *matrices[0].shape), raw_dtype=self.matrix_type)

    def add_named(self, name, to):
        """A tensor of the checkpoint, quantised or not."""
        c = self.checkpoint
        if f"{name}.scales" not in c.tensors:
            self.add(to, np.squeeze(c.read(f"{name}.weight")))
        elif c.bits(name) == 4:
            outer_shape = c.tensors[f"{name}.weight"][2]["shape"][:-2]
            self.add_matrices(to, c.matrices(name), outer_shape)
        else:
            self.add(to, np.squeeze(np.stack(list(c.matrices(name)))))

    def split_qkvz(self, layer, block):
        """in_proj_qkvz has q, k, v, z of one key head after the other; llama.cpp has q, k, v of all, and z."""
        config = self.checkpoint.config
        key_heads, key_dim = config["linear_num_key_heads"], config["linear_key_head_dim"]
        value_dim = config["linear_num_value_heads"] // key_heads * config["linear_value_head_dim"]
        (matrix,) = self.checkpoint.matrices(f"{layer}.linear_attn.in_proj_qkvz")
        by_head = matrix.reshape(key_heads, -1, matrix.shape[-1])
        q, k, v, z = (part.reshape(-1, matrix.shape[-1]) for part in np.split(
            by_head, np.cumsum([key_dim, key_dim, value_dim]), axis=1))
        self.add_matrices(f"{block}.attn_qkv.weight", [np.concatenate([q, k, v])])
        self.add_matrices(f"{block}.attn_gate.weight", [z])

    def add_layer(self, index):
        layer, block, names = f"model.layers.{index}", f"blk.{index}", self.checkpoint.tensors
        for source, to in LAYER_TENSORS.items():
            if f"{layer}.{source}.weight" in names:
                self.add_named(f"{layer}.{source}", f"{block}.{to}.weight")
        if f"{layer}.linear_attn.in_proj_qkvz.weight" in names:
            self.split_qkvz(layer, block)
            self.add(f"{block}.ssm_a", -np.exp(self.checkpoint.read(f"{layer}.linear_attn.A_log")))
            self.add(f"{block}.ssm_dt.bias", self.checkpoint.read(f"{layer}.linear_attn.dt_bias"))

    def add_parameters(self):
        w, c = self.writer, self.checkpoint.config
        w.add_block_count(c["num_hidden_layers"])
        w.add_context_length(c["max_position_embeddings"])
        w.add_embedding_length(c["hidden_size"])
        w.add_feed_forward_length(c["intermediate_size"])
        w.add_head_count(c["num_attention_heads"])
        w.add_head_count_kv(c["num_key_value_heads"])
        w.add_key_length(c["head_dim"])
        w.add_value_length(c["head_dim"])
        w.add_rope_freq_base(c["rope_theta"])
        w.add_rope_dimension_count(int(c["head_dim"] * c["partial_rotary_factor"]))
        w.add_layer_norm_rms_eps(c["rms_norm_eps"])
        w.add_expert_count(c["num_experts"])
        w.add_expert_used_count(c["num_experts_per_tok"])
        w.add_expert_feed_forward_length(c["moe_intermediate_size"])
        w.add_expert_shared_feed_forward_length(c["shared_expert_intermediate_size"])
        w.add_ssm_conv_kernel(c["linear_conv_kernel_dim"])
        w.add_ssm_state_size(c["linear_key_head_dim"])
        w.add_ssm_group_count(c["linear_num_key_heads"])
        w.add_ssm_time_step_rank(c["linear_num_value_heads"])
        w.add_ssm_inner_size(c["linear_value_head_dim"] * c["linear_num_value_heads"])
        w.add_full_attention_interval(c["full_attention_interval"])
        w.add_vocab_size(c["vocab_size"])
        add_tokenizer(w, self.checkpoint.folder, c["vocab_size"])

    def convert(self):
        self.add_parameters()
        for source, to in OUTER_TENSORS.items():
            if f"{source}.weight" in self.checkpoint.tensors:
                self.add_named(source, f"{to}.weight")
        for index in range(self.checkpoint.config["num_hidden_layers"]):
            self.add_layer(index)
        write(self.writer)


def widen(source, out):
    """A GGUF file with every weight as float32, exactly: for whoever computes in floats."""
    reader = gguf.GGUFReader(source)
    metadata = {name: field for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    writer = gguf.GGUFWriter(out, metadata.pop("general.architecture").contents())
    for name, field in metadata.items():
        element = field.types[1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], element)
    for tensor in reader.tensors:
        shape = [int(size) for size in reversed(tensor.shape)]
        weights = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape)
        writer.add_tensor(tensor.name, np.ascontiguousarray(weights, np.float32))
    write(writer)


def write(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantize(source, out, mixture):
    """By llama.cpp's quantiser."""
    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = MIXTURES[mixture]
    quiet = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(quiet, None)
    status = llama_cpp.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(parameters))
    if status != 0:
        raise SystemExit(f"{source}: llama.cpp's quantiser failed with status {status}")


def convert(model, out, type_name):
    model = pathlib.Path(model)
    if model.suffix == ".gguf":
        if type_name != "f32":
            raise SystemExit(f"{model}: a GGUF file is read back as f32 alone; give --type f32")
        widen(model, str(out))
        return
    checkpoint = Checkpoint(model)
    if checkpoint.config["model_type"] != "qwen3_next":
        raise SystemExit(f"{model}: model_type is {checkpoint.config['model_type']}; qwen3_next can be converted")
    if type_name in MIXTURES:
        with tempfile.TemporaryDirectory(dir=pathlib.Path(out).parent) as folder:
            whole = pathlib.Path(folder, "f32.gguf")
            Converter(checkpoint, str(whole), TYPES["f32"]).convert()
            quantize(whole, out, type_name)
        return
    Converter(checkpoint, str(out), TYPES[type_name]).convert()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--type", choices=[*TYPES, *MIXTURES], default="q4_0", help="of matrices that have 4 bits")
    options = parser.parse_args()
    convert(options.model, options.out, options.type)


if __name__ == "__main__":
    main()
