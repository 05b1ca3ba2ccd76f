"""Calls, thoughts and texts in the ways of families whose templates differ from the shipped model's, in every dialect."""

import json
import pathlib
import tempfile
import unittest
import urllib.request

from serving import MODEL, ROOT, TOOLS, Server

# A model that knows no such notation finds no end of a text by itself.
FUNCTIONS = json.loads(json.dumps([tool["function"] for tool in TOOLS]).replace(
    '{"type": "string"}', '{"type": "string", "maxLength": 8}'))
TOOLS = [{"type": "function", "function": function} for function in FUNCTIONS]
WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
SCHEMA = {"type": "object", "properties": {"sky": {"enum": ["rain", "sun"]}}, "required": ["sky"],
          "additionalProperties": False}


def model_with_template(name, behind=""):
    """A folder with the shipped model and another chat template, which ends with `behind`."""
    folder = pathlib.Path(tempfile.mkdtemp())
    for file in MODEL.iterdir():
        if file.name != "chat_template.jinja":
            (folder / file.name).symlink_to(file)
    (folder / "chat_template.jinja").write_text((ROOT / "tests" / "templates" / name).read_text().rstrip() + behind)
    return folder


def call_turn(**more):
    return {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {
        "name": "get_weather", "arguments": '{"city": "Paris"}'}}], **more}


class Style:
    """What any of them can: `TEMPLATE` names it, `SYNTAX` is what the server finds out."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server("--memory", "300MB", "--context", "1024", model=model_with_template(cls.TEMPLATE))

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def prompt(self, messages, **more):
        return self.server.post("/apply-template", {"messages": messages, **more})["prompt"]

    def stream(self, path, body):
        """The events of a stream, as JSON."""
        data = json.dumps({**body, "stream": True}).encode()
        with urllib.request.urlopen(urllib.request.Request(self.server.url + path, data=data)) as answer:
            lines = [line.removeprefix("data: ") for line in answer.read().decode().splitlines()]
        return [json.loads(line) for line in lines if line.startswith("{")]

    # Each asks in one dialect, for a call of `name` or of any tool, or for JSON; text, thoughts and calls.

    def openai(self, name=None, schema=None, **more):
        body = {"messages": WEATHER, "temperature": 0, "max_tokens": 200, **more}
        if schema:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        else:
            choice = {"type": "function", "function": {"name": name}} if name else "required"
            body = {"tools": TOOLS, "tool_choice": choice} | body
        message = self.server.post("/v1/chat/completions", body)["choices"][0]["message"]
        return message["content"] or "", message.get("reasoning_content"), [
            (call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in message.get("tool_calls") or []]

    def responses(self, name=None, schema=None):
        body = {"input": WEATHER, "temperature": 0, "max_output_tokens": 200}
        if schema:
            body["text"] = {"format": {"type": "json_schema", "name": "x", "schema": schema}}
        else:
            body |= {"tools": [{"type": "function", **function} for function in FUNCTIONS],
                     "tool_choice": {"type": "function", "name": name} if name else "required"}
        output = self.server.post("/v1/responses", body)["output"]
        text = "".join(part["text"] for item in output if item["type"] == "message" for part in item["content"])
        return text, None, [(item["name"], json.loads(item["arguments"])) for item in output
                            if item["type"] == "function_call"]

    def anthropic(self, name=None, schema=None):
        body = {"model": "x", "messages": WEATHER, "temperature": 0, "max_tokens": 200}
        if schema:
            body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        else:
            body |= {"tools": [{"name": function["name"], "description": function["description"],
                                "input_schema": function["parameters"]} for function in FUNCTIONS],
                     "tool_choice": {"type": "tool", "name": name} if name else {"type": "any"}}
        content = self.server.post("/v1/messages", body)["content"]
        return ("".join(block["text"] for block in content if block["type"] == "text"), None,
                [(block["name"], block["input"]) for block in content if block["type"] == "tool_use"])

    def ollama(self, schema, tools=None):
        body = {"messages": WEATHER, "stream": False, "format": schema, "options": {"temperature": 0, "num_predict": 200}}
        message = self.server.post("/api/chat", body | ({"tools": tools} if tools else {}))["message"]
        return message["content"], message.get("thinking"), [
            (call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls") or []]

    def test_the_syntax_is_found(self):
        self.assertEqual(json.loads(self.server.get("/props"))["tool_call_syntax"], self.SYNTAX)

    def test_calls_that_must_come_do(self):
        required = {function["name"]: function["parameters"]["required"] for function in FUNCTIONS}
        for ask in (self.openai, self.responses, self.anthropic):
            for name in (None, "calculator", "read_file"):
                with self.subTest(ask.__name__, name=name):
                    text, _, calls = ask(name)
                    self.assertEqual(text, "")
                    self.assertGreaterEqual(len(calls), 1)
                    for called, arguments in calls:
                        self.assertEqual(called, name or called)
                        self.assertEqual(list(arguments), required[called])

    def test_a_schema_holds_the_text(self):
        for ask in (self.openai, self.responses, self.anthropic, self.ollama):
            with self.subTest(ask.__name__):
                text, _, calls = ask(schema=SCHEMA)
                self.assertEqual(calls, [])
                self.assertIn(json.loads(text)["sky"], ("rain", "sun"))

    def test_a_call_stays_possible_beside_a_schema(self):
        # Ollama's requests cannot demand a call in another way.
        schema = {"type": "string", "minLength": 300, "maxLength": 310}
        text, _, calls = self.ollama(schema, TOOLS)
        if calls:
            self.assertEqual(text, "")
            self.assertIn(calls[0][0], [function["name"] for function in FUNCTIONS])
        else:
            self.assertTrue(text.startswith('"'))

    def test_a_streamed_call_is_the_same(self):
        body = {"messages": WEATHER, "temperature": 0, "max_tokens": 200, "tools": TOOLS, "tool_choice": "required"}
        _, _, calls = self.openai()
        deltas = [event["choices"][0]["delta"] for event in self.stream("/v1/chat/completions", body) if event["choices"]]
        parts = [part["function"] for delta in deltas for part in delta.get("tool_calls") or []]
        self.assertEqual("".join(part.get("name") or "" for part in parts), "".join(name for name, _ in calls))
        self.assertEqual("".join(delta.get("content") or "" for delta in deltas), "")
        if len(calls) == 1:
            self.assertEqual(json.loads("".join(part.get("arguments") or "" for part in parts)), calls[0][1])


class Marked(Style):
    """Those whose calls stand between marks."""

    def test_stop_strings_within_a_call_do_not_end_it(self):
        stops = ["commentary", "json", "functions", "city", "call", ":"]
        self.assertEqual(self.openai("get_weather", stop=stops[:4]), self.openai("get_weather"))
        self.assertEqual(self.openai("get_weather", stop=stops[2:]), self.openai("get_weather"))


class Harmony(Marked, unittest.TestCase):
    TEMPLATE, SYNTAX = "channels.jinja", "harmony"

    def test_thoughts_beside_a_call_are_of_the_prompt(self):
        result = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
        call = '<|start|>assistant to=functions.get_weather<|channel|>commentary json<|message|>{"city": "Paris"}<|call|>'
        analysis = "<|start|>assistant<|channel|>analysis<|message|>"
        self.assertIn(f"{analysis}I look.<|end|>{call}",
                      self.prompt([*WEATHER, call_turn(content=None, reasoning_content="I look."), result]))
        self.assertIn(f"{analysis}I look.\n\nOne moment.<|end|>{call}",
                      self.prompt([*WEATHER, call_turn(content="One moment.", reasoning_content="I look."), result]))
        self.assertIn(f"{analysis}One moment.<|end|>{call}", self.prompt([*WEATHER, call_turn(content="One moment."), result]))

    def test_an_answer_that_is_gone_on_with_is_text(self):
        begun = {"role": "assistant", "content": "The weather in Paris is"}
        body = {"messages": [*WEATHER, begun], "max_tokens": 8, "temperature": 0, "add_generation_prompt": False,
                "continue_final_message": True}
        message = self.server.post("/v1/chat/completions", body)["choices"][0]["message"]
        self.assertTrue(message["content"])
        self.assertIsNone(message.get("reasoning_content"))

    def test_tools_that_must_not_be_called_are_not(self):
        for seed in range(4):
            text, _, calls = self.openai(tool_choice="none", seed=seed, temperature=1)
            self.assertEqual(calls, [])
            self.assertNotIn("functions.", text)


class HarmonyThoughts(unittest.TestCase):
    """A prompt that leaves the model within its thoughts, out of which this one finds no way."""

    def test_they_are_told_as_thoughts(self):
        behind = "{%- if add_generation_prompt %}{{- '<|channel|>analysis<|message|>' }}{%- endif %}"
        server = Server("--memory", "300MB", "--context", "1024", model=model_with_template("channels.jinja", behind))
        try:
            greedy = {"messages": WEATHER, "temperature": 0, "max_tokens": 8, "model": "x"}
            message = server.post("/v1/chat/completions", greedy)["choices"][0]["message"]
            thought = message["reasoning_content"]
            self.assertTrue(thought)
            self.assertFalse(message["content"])
            content = server.post("/v1/messages", greedy)["content"]
            self.assertEqual([(block["type"], block.get("thinking")) for block in content], [("thinking", thought)])
            output = server.post("/v1/responses", {"input": WEATHER, "temperature": 0, "max_output_tokens": 8})["output"]
            self.assertEqual([item["content"][0]["text"] for item in output if item["type"] == "reasoning"], [thought])
            message = server.post("/api/chat", {"messages": WEATHER, "stream": False,
                                                "options": {"temperature": 0, "num_predict": 8}})["message"]
            self.assertEqual((message["content"], message["thinking"]), ("", thought))
        finally:
            self.assertEqual(server.stop(), 0)


class SilentCalls(Marked, unittest.TestCase):
    TEMPLATE, SYNTAX = "silent_calls.jinja", "deepseek-v3.1"

    def test_calls_beside_empty_content_are_of_the_prompt(self):
        result = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
        for content in ("", None):
            self.assertIn('<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Paris"}<｜tool▁call▁end｜>',
                          self.prompt([*WEATHER, call_turn(content=content), result]))
        self.assertIn("<｜Assistant｜>Hello.<｜end▁of▁sentence｜>",
                      self.prompt([*WEATHER, {"role": "assistant", "content": "Hello."}, *WEATHER]))


class BareCalls(Style, unittest.TestCase):
    TEMPLATE, SYNTAX = "bare_calls.jinja", "llama"

    def test_json_is_text_where_no_call_is_wanted(self):
        schema = {"type": "object", "properties": {"name": {"enum": ["calculator"]}, "parameters": {"enum": [{}]}},
                  "required": ["name", "parameters"], "additionalProperties": False}
        body = {"tools": TOOLS, "tool_choice": "none"}
        text, _, calls = self.openai(schema=schema, **body)
        self.assertEqual((json.loads(text), calls), ({"name": "calculator", "parameters": {}}, []))


class BracedCalls(Marked, unittest.TestCase):
    TEMPLATE, SYNTAX = "braced_calls.jinja", "gemma"

    def test_values_of_every_kind_are_json(self):
        parameters = {"type": "object", "properties": {
            "texts": {"type": "array", "items": {"const": "a \"b\""}, "minItems": 2, "maxItems": 2},
            "inner": {"type": "object", "properties": {"on": {"const": True}, "none": {"type": "null"}},
                      "required": ["on", "none"]},
            "text": {"enum": ["}<,"]}}, "required": ["texts", "inner", "text"]}
        tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
        body = {"messages": WEATHER, "tools": [tool], "tool_choice": "required", "max_tokens": 400, "temperature": 0}
        call = self.server.post("/v1/chat/completions", body)["choices"][0]["message"]["tool_calls"][0]
        self.assertEqual(json.loads(call["function"]["arguments"]),
                         {"texts": ["a \"b\""] * 2, "inner": {"on": True, "none": None}, "text": "}<,"})

    def test_the_model_can_think(self):
        self.assertIn("thinking", self.server.post("/api/show", {"model": "x"})["capabilities"])


if __name__ == "__main__":
    unittest.main()
