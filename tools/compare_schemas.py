#!/usr/bin/env python3
"""How long JSON schemas take to compile, and tokens to be held to them: here and in other libraries.

    pip install llguidance tokenizers numpy     (in an environment of its own; what is absent is left out)
    tools/compare_schemas.py build/release/src/chat/form_constraint_bench TOKENIZER_FOLDER

The cases are like those of JSONSchemaBench, by kind: what pydantic and zod emit, what APIs and
configurations look like, what is large, and what is hard. For each token of a text that the schema
allows, all tokens that may come are found; medians and worst are over all tokens of all cases. Times are of the thread's CPU: others on the machine do not count.
"""
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def obj(properties, required=None, **more):
    return {"type": "object", "properties": properties,
            "required": list(properties) if required is None else required, **more}


STRING = {"type": "string"}
INTEGER = {"type": "integer"}
ADDRESS = obj({"street": STRING, "city": {"type": "string", "minLength": 1, "maxLength": 80},
               "zip": {"type": "string", "pattern": "^[0-9]{5}(-[0-9]{4})?$"}})
TREE = {"$defs": {"node": obj({"value": {"type": "number"}, "children": {
    "type": "array", "items": {"$ref": "#/$defs/node"}}}, ["value"])}, "$ref": "#/$defs/node"}
SHAPES = {"anyOf": [
    obj({"kind": {"const": kind}, "size": {"type": "number", "minimum": 0}, f"only_{kind}": STRING})
    for kind in ("circle", "square", "triangle", "line", "polygon", "text", "image", "group")]}


def cases():
    person = obj({"name": {"type": "string", "title": "Name"},
                  "age": {"type": "integer", "minimum": 0, "maximum": 150, "title": "Age"},
                  "email": {"type": "string", "format": "email"},
                  "nick": {"anyOf": [STRING, {"type": "null"}], "default": None},
                  "address": {"$ref": "#/$defs/Address"}}, ["name", "age", "email", "address"])
    person["$defs"] = {"Address": ADDRESS}
    yield "pydantic, nested", person, {
        "name": "Ada Lovelace", "age": 36, "email": "ada@example.org", "nick": None,
        "address": {"street": "St James's Square 12", "city": "London", "zip": "12345"}}
    yield "an answer with its reasons", obj({"reasoning": STRING, "answer": STRING}), {
        "reasoning": "The river runs to the sea, and what it carries settles where it slows down. " * 8,
        "answer": "a delta"}
    yield "dates and ids", obj({"id": {"type": "string", "format": "uuid"},
                                "at": {"type": "string", "format": "date-time"},
                                "day": {"type": "string", "format": "date"},
                                "host": {"type": "string", "format": "ipv4"},
                                "link": {"type": "string", "format": "uri"}}), {
        "id": "123e4567-e89b-12d3-a456-426614174000", "at": "2024-02-29T12:30:00Z", "day": "2024-12-31",
        "host": "192.168.10.1", "link": "https://example.org/a/b?x=1"}
    yield "a tree", TREE, {"value": 1.5, "children": [{"value": 2, "children": [{"value": 3}]}, {"value": 4}]}
    yield "alternatives", {"type": "array", "items": SHAPES}, [
        {"kind": "line", "size": 3.5, "only_line": "a"}, {"kind": "group", "size": 1, "only_group": "b"}]
    yield "labels", obj({"labels": {"type": "array", "items": {"enum": [f"label_{i}" for i in range(40)]},
                                    "minItems": 1, "maxItems": 5}}), {"labels": ["label_3", "label_39"]}
    yield "a large enum", obj({"word": {"enum": [f"word {i * 7919 % 10007} of many" for i in range(3000)]}}), {
        "word": "word 7919 of many"}
    yield "many properties", obj({f"property_{i}": {"type": ["string", "null"]} for i in range(300)},
                                 ["property_299"]), {"property_7": "x", "property_150": None, "property_299": "y"}
    yield "a map", {"type": "object", "additionalProperties": {"type": "array", "items": INTEGER}}, {
        "primes": [2, 3, 5, 7], "squares": [1, 4, 9]}
    yield "patterns of names", {"type": "object", "patternProperties": {"^x-": STRING, "^[0-9]+$": INTEGER},
                                "additionalProperties": False}, {"x-trace": "abc", "17": 4}
    yield "bounds", obj({"latitude": {"type": "number", "minimum": -90, "maximum": 90},
                         "longitude": {"type": "number", "minimum": -180, "maximum": 180},
                         "zoom": {"type": "integer", "minimum": 0, "maximum": 21},
                         "step": {"type": "integer", "multipleOf": 15, "minimum": 15, "maximum": 360}}), {
        "latitude": 48.137154, "longitude": -11.576124, "zoom": 17, "step": 345}
    yield "lengths", obj({"title": {"type": "string", "minLength": 10, "maxLength": 120},
                          "text": {"type": "string", "maxLength": 2000}}), {
        "title": "How rivers find the sea", "text": "Water takes the way that is lowest. " * 20}
    yield "a phone number", obj({"phone": {"type": "string",
                                           "pattern": "^(\\([0-9]{3}\\) )?[0-9]{3}-[0-9]{4}$"}}), {
        "phone": "(555) 123-4567"}
    yield "any text but angle brackets", obj({"text": {"type": "string", "pattern": "^[^<>]*$"}}), {
        "text": "What stands here may be any text at all, in any language: 漢字, ελληνικά, עברית. " * 3}
    yield "deep", json.loads('{"type":"object","properties":{"a":' * 12 + '{"type":"null"}' +
                             '},"required":["a"]}' * 12), json.loads('{"a":' * 12 + "null" + "}" * 12)
    yield "all of", {"allOf": [obj({"a": {"type": "integer", "minimum": 3}}), obj({"b": STRING})]}, {
        "a": 12, "b": "both"}
    yield "a function's arguments", obj({"city": STRING, "unit": {"enum": ["celsius", "fahrenheit"]},
                                         "days": {"type": "integer", "minimum": 1, "maximum": 14}},
                                        ["city"], additionalProperties=False), {
        "city": "Reykjavík", "unit": "celsius", "days": 5}
    yield "anything", {"type": "object"}, {"a": [1, {"b": None}], "c": "d"}
    configuration = obj({f"section_{i}": obj({f"key_{k}": [STRING, INTEGER, {"type": "boolean"}, {
        "type": "array", "items": STRING}][k % 4] for k in range(12)}, []) for i in range(40)}, [])
    yield "a configuration", configuration, {"section_3": {"key_0": "a", "key_1": 3}, "section_39": {"key_3": ["x"]}}
    yield "a large one", obj({f"field_{i}": obj({"value": {"type": "string", "description": "d" * 150},
                                                 "score": {"type": "number"}}) for i in range(900)}, []), {
        "field_0": {"value": "x", "score": 1.5}, "field_899": {"value": "y", "score": 2}}
    # More states than any table.
    prose = "the river runs to the sea and what it carries settles where it slows down "
    yield "many states, sought", {"type": "string", "pattern": "(e.{20}d|n.{22}o|i.{24}z)", "minLength": 40}, (
        prose + "e" + 20 * "-" + "d and ends")
    yield "many states, short", {"type": "string", "pattern": "(e.{20}d|n.{22}o|i.{24}z)", "minLength": 40,
                                 "maxLength": 60}, prose[:30] + "e" + 20 * "-" + "d end"
    yield "many states, whole", {"type": "string", "pattern": "^[a-z ]*a[a-z ]{40}$"}, prose + "a" + prose[:40]


def in_order(schema, value):
    return json.dumps(value, ensure_ascii=False)


def here(program, tokenizer, path):
    out = subprocess.run([program, tokenizer, path], check=True, capture_output=True, text=True).stdout
    rows = [json.loads(line) for line in out.splitlines()]
    return {row["name"]: row for row in rows if "name" in row}


def with_llguidance(tokenizer, all_cases):
    try:
        import llguidance
        import llguidance.numpy
        import tokenizers
    except ImportError:
        return None
    text = (Path(tokenizer) / "tokenizer.json").read_text()
    vocabulary = llguidance.LLTokenizer(text)
    encoder = tokenizers.Tokenizer.from_str(text)
    rows = {}
    for case in all_cases:
        row = rows[case["name"]] = {"mask_us": []}
        ids = encoder.encode(case["text"], add_special_tokens=False).ids
        begin = time.thread_time()
        grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(case["schema"]))
        matcher = llguidance.LLMatcher(vocabulary, grammar, log_level=0)
        row["compile_us"] = 1e6 * (time.thread_time() - begin)
        mask = llguidance.numpy.allocate_token_bitmask(1, vocabulary.vocab_size)
        for token in ids:
            begin = time.thread_time()
            llguidance.numpy.fill_next_token_bitmask(matcher, mask, 0)
            if not matcher.consume_token(token):
                row["error"] = f"refuses token {len(row['mask_us'])}: {matcher.get_error()[:120]}"
                break
            row["mask_us"].append(1e6 * (time.thread_time() - begin))
    return rows


def summary(name, rows):
    compiled = [row["compile_us"] for row in rows.values() if "compile_us" in row]
    masks = [us for row in rows.values() for us in row.get("mask_us", [])]
    ranked = sorted(masks)
    errors = sum("error" in row for row in rows.values())
    print(f"| {name} | {statistics.median(compiled):.0f} | {max(compiled):.0f} | {statistics.median(masks):.1f} "
          f"| {ranked[int(len(ranked) * 0.99)]:.0f} | {max(masks):.0f} | {1e6 * len(masks) / sum(masks):.0f} | {errors} |")


def main():
    program, tokenizer = sys.argv[1:3]
    all_cases = [{"name": name, "schema": schema, "text": in_order(schema, value)} for name, schema, value in cases()]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(all_cases, file)
        file.flush()
        results = {"flash-moe": here(program, tokenizer, file.name)}
    peer = with_llguidance(tokenizer, all_cases)
    if peer:
        results["llguidance"] = peer
    print("| | compile, median µs | worst | token, median µs | p99 | worst | tokens/s | refused |")
    print("|---|---|---|---|---|---|---|---|")
    for name, rows in results.items():
        summary(name, rows)
    print()
    for case in all_cases:
        for name, rows in results.items():
            row = rows[case["name"]]
            masks = row.get("mask_us") or [0]
            print(f"{case['name'][:28]:28} {name:10} compile {row.get('compile_us', 0):9.0f} µs  token median "
                  f"{statistics.median(masks):7.1f} worst {max(masks):8.0f}  {row.get('error', '')}")


if __name__ == "__main__":
    main()
