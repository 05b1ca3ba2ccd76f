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

    def test_gives_logprobs_of_what_it_says(self):
        messages = [{"role": "user", "content": "Write a poem about the sea."}]
        whole = self.client.chat(MODEL, messages, options=GREEDY, logprobs=True, top_logprobs=2)
        self.assertEqual("".join(token.token for token in whole.logprobs), whole.message.content)
        for token in whole.logprobs:
            self.assertEqual([len(token.top_logprobs), token.top_logprobs[0].logprob], [2, token.logprob])
        parts = list(self.client.chat(MODEL, messages, options=GREEDY, logprobs=True, stream=True))
        streamed = [token.logprob for part in parts for token in part.logprobs or []]
        self.assertEqual(streamed, [token.logprob for token in whole.logprobs])
        self.assertIsNone(self.client.chat(MODEL, messages, options=GREEDY).logprobs)
        raw = self.client.generate(MODEL, "def add(a, b):", raw=True, options=GREEDY, logprobs=True)
        self.assertEqual("".join(token.token for token in raw.logprobs), raw.response)

    def test_loads_unloads_and_pulls(self):
        self.assertEqual(self.client.generate(MODEL, keep_alive="0").done_reason, "unload")
        self.assertEqual(self.client.chat(MODEL, [], keep_alive="5m").done_reason, "load")
        self.assertEqual(self.client.pull(MODEL).status, "success")
        self.assertEqual([part.status for part in self.client.pull(MODEL, stream=True)][-1], "success")
        self.assertTrue(self.client.generate(MODEL, "Hello", template="", options=GREEDY).response)
        for refused in (lambda: self.client.pull("llama3"), lambda: self.client.delete(MODEL),
                        lambda: self.client.copy(MODEL, "other"), lambda: self.client.embed(MODEL, "text"),
                        lambda: self.client.embeddings(MODEL, "text"), lambda: self.client.push(MODEL),
                        lambda: self.client.create("other", from_=MODEL)):
            with self.assertRaises(ollama.ResponseError) as caught:
                refused()
            self.assertIn(caught.exception.status_code, (404, 501))
            self.assertGreater(len(caught.exception.error), 20)

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
