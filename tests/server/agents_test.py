"""Coding agents of other people hold a session with the server: `make venv-agents` installs them."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from serving import ROOT, Server

AGENTS = ROOT / ".venv-agents"


class Agents(unittest.TestCase):
    def setUp(self):
        self.server = Server("--parallel", "2", "--memory", "300MB")
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        pathlib.Path(self.folder.name, "a.py").write_text('print("hello")\n')
        # The shipped model is small, and may never come to an end.
        pathlib.Path(self.folder.name, "settings.yml").write_text(
            "- name: openai/sprout-89m-4bit\n  extra_params: {max_tokens: 100}\n")

    def tearDown(self):
        self.assertEqual(self.server.stop(), 0)

    def run_agent(self, command, text):
        environment = {**os.environ, "HOME": self.folder.name, "OPENAI_API_KEY": "none",
                       "OPENAI_API_BASE": self.server.url + "/v1", "OPENAI_BASE_URL": self.server.url + "/v1"}
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=240, env=environment,
                              cwd=self.folder.name)

    def answered(self):
        return [entry for entry in self.server.requests if entry["event"] == "request"]

    def test_aider_holds_a_session_and_is_remembered(self):
        done = self.run_agent(
            [AGENTS / "aider" / "bin" / "aider", "--model", "openai/sprout-89m-4bit", "--no-git", "--yes-always",
             "--edit-format", "ask", "--map-tokens", "0", "--no-show-model-warnings", "--no-check-update",
             "--analytics-disable", "--no-pretty", "--no-fancy-input",
             "--model-settings-file", "settings.yml", "a.py"],
            "What does it print?\nWrite a poem about the sea.\nTell me a story.\n/exit\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        requests = self.answered()
        self.assertEqual(len(requests), 3, done.stdout)
        self.assertEqual({request["status"] for request in requests}, {200}, requests)
        self.assertGreater(requests[-1]["cached_tokens"], 100)

    def test_gptme_holds_a_session(self):
        done = self.run_agent(
            [AGENTS / "gptme" / "bin" / "gptme", "--non-interactive", "--no-confirm", "-m", "local/sprout-89m-4bit",
             "--tools", "shell", "--system", "You are brief.", "What is 12 + 30?"], "")
        requests = self.answered()
        self.assertGreater(len(requests), 0, done.stdout + done.stderr)
        # It hangs up as soon as it has seen a call of a tool.
        self.assertLessEqual({request["status"] for request in requests}, {200, 499}, done.stdout)


if __name__ == "__main__":
    if not (AGENTS / "aider").is_dir():
        print("skipped: 'make venv-agents' installs the agents")
        sys.exit(77)
    unittest.main()
