"""Whatever is asked, the server stays within its budget, and answers others meanwhile. Needs nothing but Python."""

import concurrent.futures
import json
import os
import threading
import time
import unittest

import hostile_bodies
from serving import Server

BUDGET = 160_000_000
HELLO = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}


@unittest.skipUnless(os.path.exists("/proc/self/status"), "memory is read from /proc")
class RequestMemory(unittest.TestCase):
    def setUp(self):
        self.server = Server("--memory", str(BUDGET), "--context", "4096")
        self.largest = json.loads(self.server.get("/props"))["body_size_max"]

    def tearDown(self):
        peak = hostile_bodies.peak_memory(self.server.process)
        self.assertEqual(self.server.stop(), 0)
        self.assertLess(peak, BUDGET)

    def test_every_kind_of_large_request_is_within_the_budget(self):
        for size in (self.largest // 12, self.largest):
            for name, path, body in hostile_bodies.bodies(size):
                with self.subTest(name=name, size=len(body)):
                    status, answer = hostile_bodies.send(self.server.url, path, body)
                    self.assertIn(status, (200, 400, 413), answer[:200])
                    if path.startswith("/v1/messages") and status != 200:
                        self.assertEqual(json.loads(answer)["type"], "error")
                    self.assertLess(hostile_bodies.peak_memory(self.server.process), BUDGET)
        self.assertEqual(self.server.post("/v1/chat/completions", HELLO)["object"], "chat.completion")

    def test_what_is_larger_is_not_read(self):
        for chunked in (False, True):
            status, answer = hostile_bodies.send(self.server.url, "/v1/messages", b" " * (2 * self.largest), chunked)
            self.assertEqual(status, 413)
            self.assertEqual(json.loads(answer)["error"]["type"], "request_too_large")

    def test_several_at_once_share_the_memory(self):
        kinds = [kind for kind in hostile_bodies.bodies(self.largest)
                 if kind[0] in ("English", "one letter", "token ids", "tiny nodes", "messages", "/tokenize")]
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda kind: hostile_bodies.send(self.server.url, kind[1], kind[2],
                                                                     chunked=kind[0] == "English"), kinds * 2))
        self.assertTrue({status for status, _ in answers} <= {200, 400, 413, 503}, answers)

    def test_a_long_prompt_lets_short_ones_pass(self):
        # As long as is still counted.
        body = {name: (path, text) for name, path, text in hostile_bodies.bodies(self.largest // 7)}
        over = threading.Event()
        statuses = set()
        long_ones = []

        def ask_long():
            for _ in range(4):
                for kind in ("counting tokens", "/tokenize"):
                    begun = time.monotonic()
                    statuses.add(hostile_bodies.send(self.server.url, *body[kind])[0])
                    long_ones.append((begun, time.monotonic()))
            over.set()

        thread = threading.Thread(target=ask_long)
        thread.start()
        short_ones = []
        while not over.is_set():
            begun = time.monotonic()
            self.server.post("/v1/chat/completions", HELLO)
            short_ones.append((begun, time.monotonic()))
        thread.join()
        self.assertEqual(statuses, {200})
        # In line behind each other, what comes after a long one is never answered before it.
        self.assertTrue(any(long_begun < begun and end < long_end
                            for begun, end in short_ones for long_begun, long_end in long_ones))

    def test_large_answers_wait_for_room(self):
        def score(request):
            body = {"prompt": [f"x{4 * request + i} " + "a b " * 900 for i in range(4)], "max_tokens": 0, "echo": True,
                    "logprobs": 20}
            status, answer = hostile_bodies.send(self.server.url, "/v1/completions", json.dumps(body).encode(), timeout=550)
            self.assertEqual(status, 200, answer[:200])
            choices = json.loads(answer)["choices"]
            self.assertEqual([choice["text"] for choice in choices], body["prompt"])
            return {len(choice["logprobs"]["top_logprobs"]) for choice in choices}

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            for counts in pool.map(score, range(3)):
                self.assertGreater(min(counts), 1000)

    def test_many_choices_of_a_prompt_compute_it_once_and_let_others_pass(self):
        body = {"prompt": "x0 " + "a b " * 900, "max_tokens": 0, "echo": True, "logprobs": 5, "temperature": 0}
        alone = self.server.post("/v1/completions", body)["choices"][0]
        reply = self.server.post("/v1/completions", {**body, "n": 64})
        self.assertEqual(reply["choices"], [{**alone, "index": i} for i in range(64)])
        computed = self.server.metric("llamacpp:prompt_tokens_total")
        self.assertLess(computed, 3 * reply["usage"]["prompt_tokens"])
        over = threading.Event()

        def ask_many():
            self.server.post("/v1/completions", {**body, "n": 64, "max_tokens": 8, "ignore_eos": True})
            over.set()

        thread = threading.Thread(target=ask_many)
        thread.start()
        short_ones = 0
        while not over.is_set():
            self.server.post("/v1/chat/completions", HELLO)
            short_ones += 1
        thread.join()
        self.assertGreater(short_ones, 8)

    def test_pictures_are_let_in_and_dropped(self):
        picture = "data:image/png;base64," + "iVBORw0KGgo" * (self.largest // 14)
        status, answer = hostile_bodies.send(self.server.url, "/v1/chat/completions", json.dumps(
            {"max_tokens": 1, "messages": [{"role": "user", "content": [
                {"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": picture}}]}]}
        ).encode())
        # Without the picture, or refused in words: but not for its size.
        self.assertIn(status, (200, 400), answer[:200])
        self.assertNotIn(b"memory", answer)


if __name__ == "__main__":
    unittest.main()
