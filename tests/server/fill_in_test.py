"""Filling a gap between two texts, by a model whose tokenizer has the marks for it."""

import json
import pathlib
import shutil
import tempfile
import unittest

from serving import MODEL, Server

# The shipped model has no such marks: some of its tokens take their names. What it writes then makes no sense, but which
# tokens it is asked to go on from is what this is about.
RENAMED = {"<think>": "<|fim_prefix|>", "</think>": "<|fim_suffix|>", "<tool_response>": "<|fim_middle|>"}


class FillIn(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        for file in MODEL.iterdir():
            if file.name != "tokenizer.json":
                (cls.folder / file.name).symlink_to(file)
        tokenizer = json.loads((MODEL / "tokenizer.json").read_text())
        vocabulary = tokenizer["model"]["vocab"]
        for old, new in RENAMED.items():
            vocabulary[new] = vocabulary.pop(old)
        for token in tokenizer["added_tokens"]:
            token["content"] = RENAMED.get(token["content"], token["content"])
        (cls.folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        cls.server = Server("--memory", "300MB", "--context", "512", model=cls.folder)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        shutil.rmtree(cls.folder)

    def tokens(self, text):
        return self.server.post("/tokenize", {"content": text})["tokens"]

    def test_the_prompt_has_both_texts_and_the_marks(self):
        before, after = "def add(a, b):\n    return ", "\n\nprint(add(1, 2))\n"
        mark = {name: self.tokens(name) for name in RENAMED.values()}
        self.assertEqual([len(ids) for ids in mark.values()], [1, 1, 1])
        ids = (mark["<|fim_prefix|>"] + self.tokens(before) + mark["<|fim_suffix|>"] + self.tokens(after)
               + mark["<|fim_middle|>"])
        common = {"max_tokens": 12, "temperature": 0}
        expected = self.server.post("/v1/completions", {"prompt": ids, **common})
        filled = self.server.post("/v1/completions", {"prompt": before, "suffix": after, **common})
        self.assertEqual(filled["choices"][0]["text"], expected["choices"][0]["text"])
        self.assertEqual(filled["usage"]["prompt_tokens"], len(ids))
        ollama = self.server.post("/api/generate", {"prompt": before, "suffix": after, "stream": False,
                                                    "options": {"num_predict": 12, "temperature": 0}})
        self.assertEqual(ollama["response"], expected["choices"][0]["text"])

    def test_clients_are_told_of_it(self):
        self.assertIn("insert", self.server.post("/api/show", {"model": "m"})["capabilities"])

    def test_token_ids_have_no_suffix(self):
        self.assertEqual(self.server.status_of("/v1/completions", {"prompt": [1, 2], "suffix": "x"}), 400)


class WithoutMarks(unittest.TestCase):
    def test_says_so(self):
        server = Server("--memory", "300MB", "--context", "512")
        self.assertEqual(server.status_of("/v1/completions", {"prompt": "a", "suffix": "b"}), 400)
        self.assertNotIn("insert", server.post("/api/show", {"model": "m"})["capabilities"])
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
