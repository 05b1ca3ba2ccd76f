"""The logprobs of texts that completions echo, as harnesses score with them, beside those of `flash-moe eval`."""

import json
import pathlib
import subprocess
import tempfile
import unittest
import urllib.request

from serving import MODEL, PROGRAM, Server

TEXT = ("Once upon a time there was a small village by the sea, and every morning the fishermen went out. "
        "Größe: 12 €; 春天来了，花开了。 👍🏽 def add(a, b): return a + b\n")


def evaluated(ids):
    """The log-likelihood of all of them but the first, by the command line."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "ids.json"
        file.write_text(json.dumps(ids))
        out = subprocess.run([PROGRAM, "eval", str(MODEL), "--ids-file", str(file), "--json"],
                             check=True, capture_output=True, text=True).stdout
    report = json.loads(out)
    assert report["predicted_tokens"] == len(ids) - 1
    return -report["negative_log_likelihood"] * report["predicted_tokens"]


class Scoring(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--parallel", "2")
        cls.ids = cls.server.post("/tokenize", {"content": TEXT})["tokens"]

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def complete(self, prompt, **options):
        return self.server.post("/v1/completions", {"prompt": prompt, "temperature": 0, **options})

    def score(self, prompt, **options):
        options = {"echo": True, "logprobs": 1, "max_tokens": 0, **options}
        return self.complete(prompt, **options)["choices"]

    def chunks(self, path, body):
        request = urllib.request.Request(self.server.url + path, data=json.dumps({**body, "stream": True}).encode())
        with urllib.request.urlopen(request) as answer:
            for line in answer:
                if line.startswith(b"data: {"):
                    yield json.loads(line[6:])

    def test_tokens_make_the_text_and_stand_where_offsets_say(self):
        choice, = self.score(TEXT, logprobs=3)
        logprobs = choice["logprobs"]
        self.assertEqual(choice["text"], TEXT)
        self.assertEqual(choice["finish_reason"], "length")
        self.assertEqual({len(each) for each in logprobs.values()}, {len(self.ids)})
        self.assertEqual((logprobs["token_logprobs"][0], logprobs["top_logprobs"][0]), (None, None))
        spelled = b"".join(bytes.fromhex(token[6:].replace("\\x", "")) if token.startswith("bytes:") else token.encode()
                           for token in logprobs["tokens"])
        self.assertEqual(spelled.decode(), TEXT)
        for token, offset in zip(logprobs["tokens"], logprobs["text_offset"]):
            if not token.startswith("bytes:"):
                self.assertEqual(TEXT[offset:offset + len(token)], token)
        for token, logprob, top in zip(logprobs["tokens"][1:], logprobs["token_logprobs"][1:],
                                       logprobs["top_logprobs"][1:]):
            self.assertLess(logprob, 0)
            self.assertEqual(top[token], logprob)
            self.assertIn(len(top), (3, 4))  # the token itself, where it is none of the likeliest
            self.assertGreaterEqual(max(top.values()), logprob)

    def test_a_prompt_may_fill_the_context(self):
        server = Server("--context", str(len(self.ids)))
        try:
            for prompt in (TEXT, self.ids):
                body = {"prompt": prompt, "echo": True, "logprobs": 1, "max_tokens": 0}
                choice, = server.post("/v1/completions", body)["choices"]
                self.assertEqual((choice["text"], choice["finish_reason"]), (TEXT, "length"))
                self.assertEqual(choice["logprobs"], self.score(TEXT)[0]["logprobs"])
                self.assertEqual(server.status_of("/v1/completions", json.dumps({**body, "max_tokens": 1}).encode()), 400)
            longer = {"prompt": [*self.ids, 5], "echo": True, "logprobs": 1, "max_tokens": 0}
            self.assertEqual(server.status_of("/v1/completions", json.dumps(longer).encode()), 400)
        finally:
            self.assertEqual(server.stop(), 0)

    def test_offsets_are_of_whole_characters_however_tokens_cut_them(self):
        halves = self.server.post("/tokenize", {"content": "春👍🏽 \u1e9e"})["tokens"]
        for end in range(1, len(halves) + 1):
            for bias in ({}, {str(halves[-1]): 100}):
                choice, = self.complete(halves[:end], echo=True, logprobs=1, max_tokens=3, logit_bias=bias)["choices"]
                offsets = choice["logprobs"]["text_offset"]
                self.assertEqual(offsets, sorted(offsets))
                self.assertLessEqual(offsets[-1], len(choice["text"]))
                for token, offset in zip(choice["logprobs"]["tokens"], offsets):
                    if not token.startswith("bytes:"):
                        self.assertEqual(choice["text"][offset:offset + len(token)], token)

    def test_likelihood_is_that_of_eval(self):
        choice, = self.score(self.ids)
        likelihood = sum(choice["logprobs"]["token_logprobs"][1:])
        # Each logprob is a float of at most 20 or so.
        self.assertAlmostEqual(likelihood, evaluated(self.ids), delta=len(self.ids) * 1e-6)

    def test_prompts_are_texts_or_ids_one_or_several(self):
        alone, = self.score(TEXT)
        other, = self.score("def add(a, b):")
        for prompt in ([TEXT, "def add(a, b):"], [self.ids, self.server.post("/tokenize", {
                "content": "def add(a, b):"})["tokens"]]):
            both = self.score(prompt)
            self.assertEqual([choice["logprobs"] for choice in both], [alone["logprobs"], other["logprobs"]])
            self.assertEqual([choice["index"] for choice in both], [0, 1])

    def test_is_the_same_whatever_is_remembered(self):
        first = self.score(TEXT, max_tokens=4)
        self.complete(self.ids[:-9], max_tokens=1)  # is remembered, and the text begins so
        for _ in range(2):
            reply = self.complete(TEXT, echo=True, logprobs=1, max_tokens=4)
            self.assertEqual(reply["choices"], first)
            self.assertEqual(reply["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
        plain = self.complete(TEXT, max_tokens=4)
        self.assertGreater(plain["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
        self.assertEqual(TEXT + plain["choices"][0]["text"], first[0]["text"])

    def test_changes_nothing_of_what_is_generated(self):
        for options in ({}, {"temperature": 1, "seed": 7}):
            plain = self.complete(TEXT, max_tokens=12, **options)["choices"][0]
            scored = self.complete(TEXT, max_tokens=12, echo=True, logprobs=2, **options)["choices"][0]
            self.assertEqual(scored["text"], TEXT + plain["text"])

    def test_streams_what_it_says_whole(self):
        whole, = self.score(TEXT, max_tokens=6)
        parts = list(self.chunks("/v1/completions", {"prompt": TEXT, "echo": True, "logprobs": 1, "max_tokens": 6,
                                                     "temperature": 0, "stream_options": {"include_usage": True}}))
        self.assertEqual("".join(part["choices"][0]["text"] for part in parts[:-1]), whole["text"])
        for name, values in whole["logprobs"].items():
            self.assertEqual([value for part in parts[:-1] for value in part["choices"][0]["logprobs"][name]], values)
        self.assertTrue(all(part["usage"] is None for part in parts[:-1]))
        self.assertEqual((parts[-1]["choices"], parts[-1]["usage"]["prompt_tokens"]), ([], len(self.ids)))

    def test_has_an_entry_for_an_end_token_where_texts_are_scored(self):
        end = self.server.post("/tokenize", {"content": "<|im_end|>"})["tokens"][0]
        options = {"max_tokens": 1, "logprobs": 1, "logit_bias": {str(end): 100}}
        scored = self.complete(TEXT, echo=True, **options)
        # Who scores drops the last entry: the token that had to be generated.
        self.assertEqual(len(scored["choices"][0]["logprobs"]["tokens"]), len(self.ids) + 1)
        self.assertEqual(scored["choices"][0]["logprobs"]["tokens"][-1], "")
        self.assertEqual(scored["choices"][0]["text"], TEXT)
        plain = self.complete(TEXT, **options)["choices"][0]
        self.assertEqual((plain["text"], plain["logprobs"]["tokens"], plain["finish_reason"]), ("", [], "stop"))

    def test_lists_the_tokens_of_the_text_alone(self):
        messages = [{"role": "user", "content": "Write a poem about the sea."}]
        whole = self.server.post("/v1/chat/completions", {"messages": messages, "temperature": 0, "max_tokens": 60})
        text = whole["choices"][0]["message"]["content"]
        for begin, end in ((5, 9), (20, 21), (21, 40), (33, 35)):
            body = {"messages": messages, "temperature": 0, "max_tokens": 60, "logprobs": True, "top_logprobs": 2,
                    "stop": ["never", text[begin:end]]}
            choice = self.server.post("/v1/chat/completions", body)["choices"][0]
            tokens = [entry["token"] for entry in choice["logprobs"]["content"]]
            self.assertEqual("".join(tokens), choice["message"]["content"])
            self.assertEqual(choice["message"]["content"], text[:text.index(text[begin:end])])
            streamed = [entry["token"] for chunk in self.chunks("/v1/chat/completions", body)
                        for entry in (chunk["choices"][0]["logprobs"] or {"content": []})["content"]]
            self.assertEqual(streamed, tokens)
        ended = self.server.post("/v1/chat/completions", {
            "messages": [{"role": "user", "content": "Hello"}], "temperature": 0, "max_tokens": 200, "logprobs": True})
        self.assertEqual(ended["choices"][0]["finish_reason"], "stop")
        tokens = [entry["token"] for entry in ended["choices"][0]["logprobs"]["content"]]
        self.assertEqual("".join(tokens), ended["choices"][0]["message"]["content"])

    def test_returns_the_best_of_several(self):
        options = {"temperature": 1.5, "seed": 3, "max_tokens": 8}
        all_of_them = self.complete("Once upon", n=6, logprobs=0, **options)["choices"]
        means = {choice["text"]: sum(choice["logprobs"]["token_logprobs"]) / len(choice["logprobs"]["token_logprobs"])
                 for choice in all_of_them}
        best = sorted(means, key=means.get, reverse=True)[:2]
        reply = self.complete("Once upon", n=2, best_of=6, **options)
        self.assertEqual([choice["text"] for choice in reply["choices"]], best)
        self.assertEqual([choice["index"] for choice in reply["choices"]], [0, 1])
        self.assertIsNone(reply["choices"][0]["logprobs"])
        self.assertEqual(reply["usage"]["completion_tokens"], 48)
        for wrong in ({"n": 3, "best_of": 2}, {"best_of": 2, "stream": True}):
            self.assertEqual(self.server.status_of("/v1/completions", {"prompt": "x", **wrong}), 400)


if __name__ == "__main__":
    unittest.main()
