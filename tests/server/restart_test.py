"""What a server knew of its conversations before a restart, a kill or a full disk."""

import os
import pathlib
import random
import shutil
import subprocess
import tempfile
import time
import unittest

from serving import Server

CHAT = "/v1/chat/completions"
STORY = "Tell me a long story about the sea, the village, the king and his daughter, and about the old bridge. "


class Restart(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def serve(self, *flags):
        return Server("--cache-dir", str(self.folder), "--memory", "300MB", *flags)

    def ask(self, server, messages, **options):
        """The text, and how many tokens were known."""
        reply = server.post(CHAT, {"messages": messages, "temperature": 0, "max_tokens": 30, **options})
        return reply["choices"][0]["message"]["content"], reply["usage"]["prompt_tokens_details"]["cached_tokens"]

    def states(self):
        return sorted(self.folder.glob("*/state-*"))

    def wait_for_states(self, count):
        for _ in range(200):
            if len(self.states()) >= count and not list(self.folder.glob("*/*.new")):
                return
            time.sleep(0.05)
        self.fail("nothing was written")

    def conversation(self, server):
        messages = [{"role": "user", "content": STORY * 3}]
        text, _ = self.ask(server, messages)
        return messages + [{"role": "assistant", "content": text}, {"role": "user", "content": "Go on."}]

    def test_a_conversation_goes_on_after_a_restart(self):
        server = self.serve()
        messages = self.conversation(server)
        self.assertEqual(server.stop(), 0)
        fresh = Server("--prefix-cache", "off")
        expected, known = self.ask(fresh, messages)
        self.assertEqual(known, 0)
        self.assertEqual(fresh.stop(), 0)
        server = self.serve()
        text, known = self.ask(server, messages)
        self.assertGreater(known, 80)
        self.assertEqual(text, expected)
        self.assertEqual(server.metric("flashmoe_prefix_disk_loads_total"), 1)
        self.assertEqual(server.stop(), 0)

    def test_what_was_written_survives_a_kill(self):
        server = self.serve()
        messages = self.conversation(server)
        self.wait_for_states(2)
        server.kill()
        server = self.serve()
        self.assertGreater(self.ask(server, messages)[1], 80)
        self.assertEqual(server.stop(), 0)

    def test_kills_in_the_middle_never_yield_wrong_text(self):
        fresh = Server("--prefix-cache", "off")
        prompts = [[{"role": "user", "content": f"{STORY * 4} Story {i}."}] for i in range(6)]
        expected = [self.ask(fresh, prompt)[0] for prompt in prompts]
        self.assertEqual(fresh.stop(), 0)
        known = 0
        draw = random.Random(3)
        for _ in range(8):
            server = self.serve()
            for i in draw.sample(range(6), 3):
                text, cached = self.ask(server, prompts[i])
                self.assertEqual(text, expected[i])
                known += cached > 0
            time.sleep(draw.random() * 0.05)
            server.kill()
        self.assertGreater(known, 0)

    def test_damaged_files_are_not_used(self):
        server = self.serve()
        messages = self.conversation(server)
        self.assertEqual(server.stop(), 0)
        for path in self.folder.glob("*/*-*"):
            with open(path, "r+b") as file:
                file.seek(os.path.getsize(path) // 2)
                byte = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte[0] ^ 1]))
        server = self.serve()
        text, known = self.ask(server, messages)
        self.assertEqual(known, 0)
        fresh = Server("--prefix-cache", "off")
        self.assertEqual(text, self.ask(fresh, messages)[0])
        self.assertEqual((server.stop(), fresh.stop()), (0, 0))

    def test_a_second_server_is_told_to_look_elsewhere(self):
        server = self.serve()
        second = subprocess.run(
            [server.process.args[0], "serve", server.process.args[2], "--port", "0", "--cache-dir",
             str(self.folder)], capture_output=True, text=True, timeout=60)
        self.assertEqual(second.returncode, 1)
        self.assertIn("another server", second.stderr)
        self.assertEqual(server.stop(), 0)

    def test_a_full_disk_costs_no_request(self):
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(self.folder)],
                          capture_output=True).returncode != 0:
            self.skipTest("no right to mount a small disk")
        self.addCleanup(subprocess.run, ["umount", "-l", str(self.folder)])
        server = self.serve()
        messages = self.conversation(server)
        self.assertGreater(self.ask(server, messages)[1], 80)  # from memory
        self.assertTrue(server.tells(lambda entry: "prefix cache was not written" in entry.get("text", "")))
        self.assertEqual(server.stop(), 0)
        self.assertEqual(self.states(), [])


if __name__ == "__main__":
    unittest.main()
