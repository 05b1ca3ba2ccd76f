"""Schemas and tools together, in every dialect: answers of the schema's form, calls of tools that there are."""

import json
import unittest

from serving import TOOLS, Server

SCHEMA = {"type": "object", "properties": {"reason": {"type": "string", "maxLength": 40},
                                           "ok": {"type": "boolean"},
                                           "score": {"type": "integer", "minimum": 1, "maximum": 9}},
          "required": ["ok", "reason", "score"], "additionalProperties": False}
WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
HELLO = [{"role": "user", "content": "Hello"}]
FUNCTIONS = [tool["function"] for tool in TOOLS]


class Forms(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--memory", "200MB", "--parallel", "2")

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def chat(self, messages, tools, **more):
        body = {"messages": messages, "temperature": 0, "max_tokens": 120, **more}
        if tools:
            body["tools"] = TOOLS
        message = self.server.post("/v1/chat/completions", body)["choices"][0]["message"]
        return message["content"], [call["function"]["name"] for call in message.get("tool_calls") or []]

    def chat_with_schema(self, messages, tools):
        return self.chat(messages, tools,
                         response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}})

    def responses(self, messages, tools):
        body = {"input": messages, "temperature": 0, "max_output_tokens": 120,
                "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}}
        if tools:
            body["tools"] = [{"type": "function", **function} for function in FUNCTIONS]
        output = self.server.post("/v1/responses", body)["output"]
        text = "".join(part["text"] for item in output if item["type"] == "message" for part in item["content"])
        return text, [item["name"] for item in output if item["type"] == "function_call"]

    def messages(self, messages, tools):
        body = {"model": "x", "messages": messages, "temperature": 0, "max_tokens": 120,
                "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
        if tools:
            body["tools"] = [{"name": function["name"], "description": function["description"],
                              "input_schema": function["parameters"]} for function in FUNCTIONS]
        content = self.server.post("/v1/messages", body)["content"]
        return ("".join(block["text"] for block in content if block["type"] == "text"),
                [block["name"] for block in content if block["type"] == "tool_use"])

    def ollama(self, messages, tools):
        body = {"messages": messages, "stream": False, "format": SCHEMA,
                "options": {"temperature": 0, "num_predict": 120}}
        if tools:
            body["tools"] = TOOLS
        message = self.server.post("/api/chat", body)["message"]
        return message["content"], [call["function"]["name"] for call in message.get("tool_calls") or []]

    def assert_of_schema(self, text):
        value = json.loads(text)
        self.assertEqual(list(value), ["reason", "ok", "score"], text)
        self.assertIsInstance(value["ok"], bool)
        self.assertLessEqual(len(value["reason"]), 40)
        self.assertIn(value["score"], range(1, 10))

    def test_a_schema_holds_the_text_and_a_call_stays_possible(self):
        for ask in (self.chat_with_schema, self.responses, self.messages, self.ollama):
            with self.subTest(ask.__name__):
                text, calls = ask(WEATHER, True)
                self.assertEqual((text or "", calls), ("", ["get_weather"]))
                text, calls = ask(WEATHER, False)
                self.assertEqual(calls, [])
                self.assert_of_schema(text)
                text, calls = ask(HELLO, True)
                if not calls:
                    self.assert_of_schema(text)

    def test_tools_that_are_not_declared_cannot_be_called(self):
        question = [{"role": "user", "content": "What is 12 * 17?"}]
        for seed in range(6):
            body = {"messages": question, "tools": TOOLS[:1], "max_tokens": 60, "temperature": 1, "seed": seed}
            message = self.server.post("/v1/chat/completions", body)["choices"][0]["message"]
            for call in message.get("tool_calls") or []:
                self.assertEqual(call["function"]["name"], "get_weather")
            self.assertNotIn("<tool_call>", message["content"] or "")

    def test_tools_change_nothing_where_none_is_called(self):
        # Behind a tool's result the model answers in words.
        call = {"id": "call_1", "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
        compared = 0
        for seed in range(4):
            body = {"messages": [*WEATHER, {"role": "assistant", "content": "", "tool_calls": [call]},
                                 {"role": "tool", "tool_call_id": "call_1", "content": '{"degrees": 12, "sky": "rain"}'}],
                    "tools": TOOLS, "max_tokens": 40, "temperature": 1, "seed": seed}
            prompt = self.server.post("/apply-template", body)["prompt"]
            raw = self.server.post("/v1/completions", {**body, "prompt": prompt})["choices"][0]["text"]
            if "<tool_call>" in raw:
                continue
            answer = self.server.post("/v1/chat/completions", body)["choices"][0]["message"]["content"]
            self.assertEqual(answer.strip(), raw.strip())
            compared += 1
        self.assertGreater(compared, 0)

    def test_a_cut_call_shows_no_markup(self):
        for length in range(1, 12):
            body = {"messages": WEATHER, "tools": TOOLS, "temperature": 0, "max_tokens": length}
            choice = self.server.post("/v1/chat/completions", body)["choices"][0]
            content = choice["message"]["content"] or ""
            self.assertNotIn("name", content)
            self.assertNotIn("<", content)
            self.assertEqual(choice["finish_reason"], "length")
            answer = self.server.post("/v1/messages", {
                "model": "x", "messages": WEATHER, "max_tokens": length, "temperature": 0,
                "tools": [{"name": f["name"], "input_schema": f["parameters"]} for f in FUNCTIONS]})
            self.assertEqual(answer["stop_reason"], "max_tokens")
            self.assertNotIn("name", "".join(b.get("text", "") for b in answer["content"]))

    def test_a_stop_string_within_a_call_does_not_end_it(self):
        stops = ["get_weather", "\n", '"', "tool_call"]
        body = {"messages": WEATHER, "tools": TOOLS, "temperature": 0, "max_tokens": 120}
        expected = self.server.post("/v1/chat/completions", body)["choices"][0]
        self.assertEqual(expected["finish_reason"], "tool_calls")
        function = expected["message"]["tool_calls"][0]["function"]
        choice = self.server.post("/v1/chat/completions", {**body, "stop": stops})["choices"][0]
        self.assertEqual(choice["finish_reason"], "tool_calls")
        self.assertEqual(choice["message"]["tool_calls"][0]["function"], function)
        answer = self.server.post("/v1/messages", {
            "model": "x", "messages": WEATHER, "max_tokens": 120, "temperature": 0, "stop_sequences": stops,
            "tools": [{"name": f["name"], "description": f["description"], "input_schema": f["parameters"]}
                      for f in FUNCTIONS]})
        self.assertEqual((answer["stop_reason"], answer["stop_sequence"]), ("tool_use", None))
        call = next(block for block in answer["content"] if block["type"] == "tool_use")
        self.assertEqual((call["name"], call["input"]), (function["name"], json.loads(function["arguments"])))
        line = self.server.post("/api/chat", {"messages": WEATHER, "tools": TOOLS, "stream": False, "options": {
            "temperature": 0, "num_predict": 120, "stop": stops}})
        self.assertEqual([c["function"]["name"] for c in line["message"]["tool_calls"]], [function["name"]])
        self.assertEqual(line["done_reason"], "stop")

    def test_null_in_a_schema_is_what_is_not_said(self):
        parameters = {"type": "object", "properties": {"city": {"type": "string", "enum": None, "anyOf": None,
                                                                "maxLength": 12, "const": None, "items": None}},
                      "required": ["city"], "additionalProperties": None, "$defs": None, "allOf": None}
        for schema in (parameters, {"type": "object", "properties": None, "required": None, "anyOf": None}):
            body = {"messages": WEATHER, "tool_choice": "required", "max_tokens": 120, "temperature": 0,
                    "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]}
            call = self.server.post("/v1/chat/completions", body)["choices"][0]["message"]["tool_calls"][0]
            self.assertEqual(call["function"]["name"], "f")
            arguments = json.loads(call["function"]["arguments"])
            self.assertIsInstance(arguments, dict)
            if schema["properties"]:
                self.assertEqual(list(arguments), ["city"])

    def test_what_has_more_states_than_any_table_comes_to_its_end(self):
        schema = {"type": "string", "pattern": "(e.{20}d|n.{22}o|i.{24}z)", "minLength": 40, "maxLength": 70}
        for seed in range(4):
            body = {"messages": HELLO, "temperature": 2, "seed": seed, "max_tokens": 400,
                    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}
            choice = self.server.post("/v1/chat/completions", body)["choices"][0]
            text = json.loads(choice["message"]["content"])
            self.assertEqual(choice["finish_reason"], "stop")
            self.assertRegex(text, schema["pattern"])
            self.assertIn(len(text), range(40, 71))

    def test_what_is_not_held_to_is_refused_where_strict_and_logged_else(self):
        schema = {"type": "object", "properties": {"x": {"type": "string", "pattern": "(?=a)b", "maxLength": 5}},
                  "required": ["x"]}
        body = {"messages": HELLO, "max_tokens": 40,
                "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}
        self.assertEqual(self.server.status_of("/v1/chat/completions", body), 200)
        body["response_format"]["json_schema"]["strict"] = True
        self.assertEqual(self.server.status_of("/v1/chat/completions", body), 400)
        tools = [{"type": "function", "function": {"name": "f", "parameters": schema, "strict": True}}]
        self.assertEqual(self.server.status_of("/v1/chat/completions",
                                               {"messages": HELLO, "max_tokens": 4, "tools": tools}), 400)
        self.assertTrue(self.server.tells(
            lambda entry: any("#/properties/x" in note for note in entry.get("notes", []))))


if __name__ == "__main__":
    unittest.main()
