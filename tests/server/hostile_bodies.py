"""Bodies made to take much memory: as large as they are, in every dialect and shape."""

import http.client
import json
import random

CHAT = "/v1/chat/completions"


def english(size):
    words = "the river runs past an old mill where people of the town met to talk about water and bread".split()
    picks = random.Random(7)
    text = " ".join(picks.choice(words) for _ in range(size // 5))
    return text[:size]


def user(text):
    return json.dumps({"messages": [{"role": "user", "content": text}], "max_tokens": 1}).encode()


def filled(before, item, after, size):
    """A JSON text of about `size` bytes: many times one item."""
    count = max(1, (size - len(before) - len(after)) // (len(item) + 1))
    return (before + item + ("," + item) * (count - 1) + after).encode()


def bodies(size):
    """Name, path and body of each."""
    anthropic = {"max_tokens": 1, "messages": [{"role": "user", "content": english(size)}]}
    ollama = {"messages": [{"role": "user", "content": english(size)}], "stream": False, "options": {"num_predict": 1}}
    yield "English", CHAT, user(english(size))
    yield "one letter", CHAT, user("a" * size)
    yield "blanks", CHAT, user(" " * size)
    yield "control characters", CHAT, user("\x01" * (size // 6))
    yield "Chinese", CHAT, json.dumps({"messages": [{"role": "user", "content": "水" * (size // 3)}]},
                                      ensure_ascii=False).encode()
    yield "digits and signs", CHAT, user("1+" * (size // 2))
    yield "English, Anthropic", "/v1/messages", json.dumps(anthropic).encode()
    yield "counting tokens", "/v1/messages/count_tokens", json.dumps(anthropic).encode()
    yield "English, Ollama", "/api/chat", json.dumps(ollama).encode()
    yield "one letter, Ollama", "/api/generate", json.dumps({"prompt": "a" * size, "stream": False}).encode()
    yield "English, Responses", "/v1/responses", json.dumps({"input": english(size), "max_output_tokens": 1}).encode()
    yield "English, completions", "/v1/completions", json.dumps({"prompt": english(size), "max_tokens": 1}).encode()
    yield "token ids", "/v1/completions", filled('{"max_tokens":1,"prompt":[', "5", "]}", size)
    yield "prompts", "/v1/completions", filled('{"max_tokens":1,"prompt":[', '"a b c"', "]}", size)
    yield "/tokenize", "/tokenize", json.dumps({"content": english(size)}).encode()
    yield "/tokenize, one letter", "/tokenize", json.dumps({"content": "a" * size}).encode()
    yield "/detokenize", "/detokenize", filled('{"tokens":[', "5", "]}", size)
    yield "/apply-template", "/apply-template", user(english(size))
    yield "tiny nodes", CHAT, filled('{"messages":[],"x":[', "1", "]}", size)
    yield "empty lists", CHAT, filled('{"messages":[],"x":[', "[]", "]}", size)
    yield "empty objects", "/v1/messages", filled('{"max_tokens":1,"messages":[],"x":[', "{}", "]}", size)
    yield "members", CHAT, filled('{"messages":[],"x":{', '"":0', "}}", size)
    yield "deep", CHAT, b'{"x":' + b"[" * size
    yield "messages", CHAT, filled('{"max_tokens":1,"messages":[', '{"role":"user","content":"a"}', "]}", size)
    tool = json.dumps({"type": "function", "function": {
        "name": "f", "description": "d", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}})
    yield "tools", CHAT, filled('{"max_tokens":1,"messages":[{"role":"user","content":"a"}],"tools":[', tool, "]}", size)
    yield "a tool's description", CHAT, filled(
        '{"max_tokens":1,"messages":[{"role":"user","content":"a"}],"tools":[', json.dumps(
            {"type": "function", "function": {"name": "f", "description": english(size - 200), "parameters": {}}}), "]}", 0)
    yield "a schema", CHAT, filled(
        '{"max_tokens":1,"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema",'
        '"json_schema":{"name":"x","schema":{"enum":[', "1", "]}}}}", size)
    yield "stop texts", CHAT, filled('{"messages":[{"role":"user","content":"a"}],"stop":[', '"a"', "]}", size)
    yield "biases", CHAT, filled('{"messages":[{"role":"user","content":"a"}],"logit_bias":{', '"5":1', "}}", size)
    yield "an escaped text", CHAT, b'{"messages":[{"role":"user","content":"' + b"\\u0041" * (size // 6) + b'"}]}'
    yield "no JSON", CHAT, b"\xff" * size
    yield "an endless number", CHAT, b'{"messages":' + b"1" * size


def send(url, path, body, chunked=False, headers=(), timeout=120):
    """Status and answer; of a connection that was cut while the body went out, what had come before."""
    host, port = url.removeprefix("http://").split(":")
    client = http.client.HTTPConnection(host, int(port), timeout=timeout)
    try:
        wanted = {"Content-Type": "application/json", **dict(headers)}
        if chunked:
            pieces = (body[at:at + 65536] for at in range(0, len(body), 65536))
            wanted["Transfer-Encoding"] = "chunked"
            try:
                client.request("POST", path, pieces, wanted, encode_chunked=True)
            except (BrokenPipeError, ConnectionResetError):
                pass
        else:
            try:
                client.request("POST", path, body, wanted)
            except (BrokenPipeError, ConnectionResetError):
                pass
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


def peak_memory(process):
    """VmHWM of a process, in bytes."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    raise RuntimeError("the system does not tell")
