"""A model's file that fails under a running server: the requests that needed it fail, the server lives."""

import json
import os
import pathlib
import shutil
import tempfile
import unittest
import urllib.error
import urllib.request

from serving import MODEL, Server

CHAT = "/v1/chat/completions"
STORY = {"messages": [{"role": "user", "content": "Tell me a story of winter."}], "temperature": 0, "max_tokens": 60,
         "ignore_eos": True}


class DiskFault(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir=os.getcwd())
        self.addCleanup(folder.cleanup)
        self.model = pathlib.Path(folder.name) / "model"
        shutil.copytree(MODEL, self.model)
        # As few experts as possible are in memory: each token reads.
        self.server = Server("--memory", "58MB", "--context", "512", "--parallel", "1", "--speculation", "off",
                             model=self.model)
        self.shards = sorted(self.model.glob("model-*.safetensors"))
        self.contents = [shard.read_bytes() for shard in self.shards]

    def tearDown(self):
        self.assertEqual(self.server.stop(), 0)

    def cut(self):
        for shard in self.shards:
            os.truncate(shard, 4096)

    def mend(self):
        for shard, content in zip(self.shards, self.contents):
            shard.write_bytes(content)

    def test_fails_the_request_and_serves_the_next(self):
        whole = self.server.post(CHAT, STORY)["choices"][0]["message"]["content"]
        self.cut()
        with self.assertRaises(urllib.error.HTTPError) as caught:
            self.server.post(CHAT, {**STORY, "messages": [{"role": "user", "content": "def main(): pass"}]})
        self.assertEqual(caught.exception.code, 500)
        error = json.load(caught.exception)["error"]
        self.assertEqual(error["type"], "server_error")
        self.assertIn(".safetensors", error["message"])
        self.assertEqual(self.server.get("/health"), '{"status":"ok"}')
        self.mend()
        self.assertEqual(self.server.post(CHAT, STORY)["choices"][0]["message"]["content"], whole)
        self.assertGreater(self.server.metric("flashmoe_requests_failed_total"), 0)

    def test_tells_a_stream_what_happened(self):
        request = urllib.request.Request(self.server.url + CHAT, headers={"Content-Type": "application/json"},
                                         data=json.dumps({**STORY, "stream": True, "max_tokens": 400}).encode())
        with urllib.request.urlopen(request) as stream:
            first = stream.readline()
            self.assertTrue(first.startswith(b"data: "))
            self.cut()
            rest = stream.read().decode()
        self.mend()
        last = [line for line in rest.splitlines() if line.startswith("data: ")][-1]
        self.assertIn("error", json.loads(last.removeprefix("data: ")))
        self.assertNotIn("[DONE]", rest)


if __name__ == "__main__":
    unittest.main()
