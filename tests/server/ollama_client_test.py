"""Ollama's own client against a running server."""

import json
import unittest

import ollama

from serving import TOOLS, Server

MODEL = "sprout-89m-4bit"
GREEDY = {"temperature": 0, "num_predict": 40}


class OllamaClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.client = ollama.Client(host=cls.server.url)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def test_chats_the_same_streamed_and_whole(self):
        messages = [{"role": "user", "content": "Write a poem about the sea."}]
        whole = self.client.chat(MODEL, messages, options=GREEDY)
        parts = list(self.client.chat(MODEL, messages, options=GREEDY, stream=True))
        self.assertEqual("".join(part.message.content for part in parts), whole.message.content)
        self.assertEqual([part.done for part in parts], [False] * (len(parts) - 1) + [True])
        self.assertEqual(parts[-1].eval_count, whole.eval_count)
        self.assertGreater(whole.total_duration, 0)

    def test_runs_a_whole_agent_loop(self):
        messages = [{"role": "user", "content": "What is 12 + 30?"}]
        first = self.client.chat(MODEL, messages, tools=TOOLS, options=GREEDY)
        call = first.message.tool_calls[0]
        self.assertEqual(call.function.name, "calculator")
        self.assertIsInstance(call.function.arguments, dict | object)
        messages += [first.message, {"role": "tool", "tool_name": "calculator", "content": "42"}]
        self.assertIn("42", self.client.chat(MODEL, messages, tools=TOOLS, options=GREEDY).message.content)

    def test_generates_raw_and_in_a_form(self):
        raw = self.client.generate(MODEL, "def add(a, b):", raw=True, options=GREEDY)
        self.assertTrue(raw.response)
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        formed = self.client.generate(MODEL, "A number as JSON", format=schema,
                                      options={"temperature": 0, "num_predict": 200})
        if formed.done_reason == "stop":
            self.assertIsInstance(json.loads(formed.response)["n"], int)

    def test_describes_its_model(self):
        self.assertEqual(self.client.list().models[0].model, MODEL)
        shown = self.client.show(MODEL)
        self.assertIn("tools", shown.capabilities)
        self.assertEqual(shown.modelinfo["qwen3_next.context_length"], 4096)
        self.assertEqual(self.server.get("/"), "Ollama is running")
        self.assertEqual(self.client.ps().models[0].model, MODEL)
        self.assertEqual(self.client.generate(MODEL).done_reason, "load")

    def test_says_what_is_wrong(self):
        with self.assertRaises(ollama.ResponseError) as caught:
            self.client.chat(MODEL, [{"role": "user", "content": "x"}], options={"temperature": -1})
        self.assertEqual(caught.exception.status_code, 400)
        self.assertIn("options.temperature", caught.exception.error)


if __name__ == "__main__":
    unittest.main()
