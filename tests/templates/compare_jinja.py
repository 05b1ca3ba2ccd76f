"""Chat templates over random conversations, as Python's jinja2 renders them: compare_jinja.py [COUNT] [SEED]

FLASHMOE_PROGRAM names the program. The environment is the one that transformers gives templates. Templates: those beside this file, the shipped model's, and those of
$FLASHMOE_SHARED (or ../shared) where it is.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import jinja2
import jinja2.sandbox

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
WORDS = ["hello", "你好", "<b>", "</think>", "<think>", "\n", "  ", "{", "}", "\"q\"", "'a'", "é", "👋", "&", "[INST]", "\\n", "\t", "end",
         "<tool_response>", "None", "0", "ü"]


def fail(message):
    raise jinja2.exceptions.TemplateError(message)


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    env.filters["tojson"] = lambda value, ensure_ascii=False, indent=None, separators=None, sort_keys=False: json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    env.globals["raise_exception"] = fail
    return env


def text(draw):
    return " ".join(draw.choice(WORDS) for _ in range(draw.randrange(6)))


def value(draw, depth=0):
    kinds = [lambda: text(draw), lambda: draw.randrange(-5, 100), lambda: draw.random() * 100, lambda: None,
             lambda: draw.random() < 0.5]
    if depth < 2:
        kinds += [lambda: [value(draw, depth + 1) for _ in range(draw.randrange(3))],
                  lambda: {f"k{i}": value(draw, depth + 1) for i in range(draw.randrange(3))}]
    return draw.choice(kinds)()


def conversation(draw):
    messages = []
    if draw.random() < 0.5:
        messages.append({"role": "system", "content": text(draw)})
    for turn in range(draw.randrange(1, 5)):
        messages.append({"role": "user", "content": text(draw) or "x"})
        if draw.random() < 0.4:
            calls = [{"id": "c" * draw.choice([9, 9, 9, 3]), "type": "function", "function": {
                "name": draw.choice(["f", "get_weather"]),
                "arguments": {f"a{i}": value(draw) for i in range(draw.randrange(3))}}} for _ in range(draw.randrange(1, 3))]
            messages.append({"role": "assistant", "content": draw.choice(["", text(draw)]), "tool_calls": calls})
            messages += [{"role": "tool", "tool_call_id": call["id"], "name": "f", "content": text(draw)} for call in calls]
        if turn or draw.random() < 0.8:
            answer = {"role": "assistant", "content": text(draw)}
            if draw.random() < 0.3:
                answer["reasoning_content"] = text(draw)
            messages.append(answer)
    tools = None
    if draw.random() < 0.5:
        tools = [{"type": "function", "function": {
            "name": f"t{i}", "description": text(draw),
            "parameters": {"type": "object", "properties": {
                f"p{k}": {"type": draw.choice(["string", "integer"]), "description": text(draw), "enum": [value(draw)]}
                for k in range(draw.randrange(3))}, "required": []}}} for i in range(draw.randrange(1, 3))]
    return {"messages": messages, "tools": tools, "add_generation_prompt": draw.random() < 0.6,
            "kwargs": draw.choice([{}, {"enable_thinking": False}, {"enable_thinking": True}])}


def folders(scratch):
    """Folders with a template each, and the special tokens that go with it."""
    for path in sorted(HERE.glob("*.jinja")):
        folder = scratch / path.stem
        folder.mkdir()
        (folder / "chat_template.jinja").write_text(path.read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps(SPECIAL))
        yield folder, path.read_text(), SPECIAL
    shared = pathlib.Path(os.environ.get("FLASHMOE_SHARED", ROOT.parent / "shared")) / "tokenizers"
    for folder in [ROOT / "models" / "sprout-89m-4bit", *sorted(shared.glob("*"))]:
        config = json.loads((folder / "tokenizer_config.json").read_text())
        special = {key: token["content"] if isinstance(token, dict) else token for key, token in config.items()
                   if key.endswith("_token") and token is not None and not isinstance(token, bool)}
        source = folder / "chat_template.jinja"
        template = source.read_text() if source.exists() else config.get("chat_template")
        if isinstance(template, str):
            yield folder, template, special


def main():
    program = os.environ.get("FLASHMOE_PROGRAM", str(ROOT / "build" / "release-test" / "flash-moe"))
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    bad, compared, errors = 0, 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        for folder, source, special in folders(pathlib.Path(scratch)):
            template = environment().from_string(source)
            draw = random.Random(f"{seed} {folder.name}")
            for number in range(count):
                case = conversation(draw)
                try:
                    expected = template.render(
                        messages=case["messages"], tools=case["tools"], documents=None,
                        add_generation_prompt=case["add_generation_prompt"], **special, **case["kwargs"])
                except (jinja2.exceptions.TemplateError, TypeError) as error:
                    expected, errors = None, errors + 1
                    reason = error
                done = subprocess.run([program, "render", folder, "-"], input=json.dumps(case), capture_output=True, text=True)
                compared += 1
                if (done.stdout if done.returncode == 0 else None) != expected:
                    bad += 1
                    print(f"{folder.name}, seed {seed}, case {number}: {json.dumps(case, ensure_ascii=False)}\nexpected: "
                          f"{expected!r}{'' if expected is not None else reason}\nrendered: {done.stdout!r} {done.stderr}")
    print(f"{compared} conversations compared, {errors} of them errors, {bad} different; seed {seed}")
    sys.exit(1 if bad else 0)


main()
