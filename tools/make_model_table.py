"""Prints the table of docs/models.md that says which form of which family is held to what, by the tests that there are, or puts
it there: make_model_table.py [--write]"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "models.md"
BEGIN, END = "<!-- tools/make_model_table.py --write -->\n", "<!-- end -->\n"

# What published models of a family write calls in; the engine goes by their template (docs/chat_templates.md).
CALLS = {
    "qwen3_next": "qwen-xml, hermes", "qwen3_5_moe": "qwen-xml", "qwen3_moe": "hermes, qwen-xml", "qwen2_moe": "hermes",
    "glm4_moe": "glm", "glm4_moe_lite": "glm", "deepseek_v3": "deepseek-v3, deepseek-v3.1, kimi", "minimax_m2": "minimax",
    "gemma4": "gemma", "gpt_oss": "harmony", "llama": "llama, mistral", "qwen3": "hermes",
}
# Names of GGUF files by which one architecture is several families.
GGUF_NAMES = {"llama-mixtral": "mixtral", "deepseek2-glm": "glm4_moe_lite", "deepseek2-lite": "deepseek_v2",
              "deepseek2": "deepseek_v3", "gpt-oss": "gpt_oss"}


def source(path):
    return (ROOT / path).read_text()


def families():
    """By their model_type, in the order in which the program names them."""
    types = dict(re.findall(r'const ModelFamily (k\w+) = \{\s*\.model_type = "(\w+)"',
                            "".join(file.read_text() for file in sorted((ROOT / "src/model/families").glob("*.cc")))))
    listed = re.search(r"kFamilies = \{([^}]*)\}", source("src/model/model_family.cc")).group(1)
    return [types[name] for name in re.findall(r"&(k\w+)", listed)]


def suite(path):
    """What its tests show of each of its models, and those models' names."""
    text = source(path)
    tests = re.findall(r"^TEST_P\(\w+, (\w+)\)", text, re.MULTILINE)
    shown = [word for word, part in (("golden", "Reference"), ("streaming", "SmallestBudget"))
             if any(part in test for test in tests)]
    values = re.search(r"INSTANTIATE_TEST_SUITE_P\(.*?::testing::Values\((.*?)\);", text, re.DOTALL).group(1)
    return ", ".join(shown), re.findall(r'"([\w/.-]+)"', values)


def longest_of(names, text):
    return max((name for name in names if re.match(re.escape(name) + r"($|[-_])", text)), key=len, default=None)


def cells():
    """What (family, form) is held to."""
    table = {}
    known = families()
    shown, names = suite("tests/golden/tiny_models_test.cc")
    for name in names:
        form = "MLX" if name.startswith("mlx_checkpoints/") else "Hugging Face"
        table[longest_of(known, name.removeprefix("mlx_checkpoints/")), form] = shown
    shown, names = suite("tests/golden/gguf_models_test.cc")
    architectures = dict(re.findall(r'\{\.name = "([\w-]+)",\s*\.model_type = "(\w+)"', source("src/format/gguf_keys.h")))
    architectures.update(GGUF_NAMES)
    for name in names:
        architecture = longest_of(architectures, name)
        if architecture is not None:  # else it is of types, not of a family
            table[architectures[architecture], "GGUF"] = shown
    # Converted by the test itself from the form that is held to transformers.
    for name in re.findall(r"TEST\(GgufConversion, (\w+)GivesTheSameBits\)", source("tests/golden/gguf_conversion_test.cc")):
        family = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        table.setdefault((family, "GGUF"), "bits of Hugging Face's")
    unknown = {family for family, _ in table} - set(known)
    if unknown:
        sys.exit(f"make_model_table.py: the tests have models of {unknown}, which are no families; name theirs in GGUF_NAMES")
    return table


def check_calls():
    page = source("docs/chat_templates.md")
    for syntaxes in CALLS.values():
        for syntax in syntaxes.split(", "):
            if f"| `{syntax}` |" not in page:
                sys.exit(f"make_model_table.py: {syntax} is no syntax of docs/chat_templates.md; correct CALLS")


def table():
    check_calls()
    held = cells()
    forms = ("Hugging Face", "MLX", "GGUF")
    lines = ["| model_type | " + " | ".join(forms) + " | calls of tools |", "|---" * (len(forms) + 2) + "|"]
    for family in families():
        row = [family, *(held.get((family, form), "-") for form in forms), CALLS.get(family, "-")]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def parts_of_page():
    """What the page has before the table, the table, and what it has behind it."""
    before, rest = PAGE.read_text().split(BEGIN)
    kept, after = rest.split(END)
    return before, kept, after


def main():
    if "--write" not in sys.argv:
        sys.stdout.write(table())
        return
    before, _, after = parts_of_page()
    PAGE.write_text(before + BEGIN + table() + END + after)


if __name__ == "__main__":
    main()
