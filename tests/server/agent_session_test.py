"""An agent's session of thirty turns with tools and a growing context: what is known is not computed again."""

import json
import tempfile
import unittest

from serving import TOOLS, Server

CHAT = "/v1/chat/completions"
QUESTIONS = ["What is the weather in {}?", "What is {} + 30?", "Read the file notes{}.txt."]


class AgentSession(unittest.TestCase):
    def turn(self, server, messages):
        """Asks, answers the calls of tools, and returns the tokens that had to be computed for both."""
        computed = 0
        for _ in range(2):
            reply = server.post(CHAT, {"messages": messages, "tools": TOOLS, "temperature": 0, "max_tokens": 60})
            usage, message = reply["usage"], reply["choices"][0]["message"]
            computed += usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"]
            messages.append(message)
            if not message.get("tool_calls"):
                break
            for call in message["tool_calls"]:
                json.loads(call["function"]["arguments"])
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": "It is 42 here."})
        return computed, usage["prompt_tokens"]

    def test_each_turn_computes_what_is_new(self):
        server = Server("--parallel", "1", "--memory", "300MB")
        messages = [{"role": "system", "content": "You help. " * 20}]
        called = 0
        for turn in range(30):
            before = len(messages)
            messages.append({"role": "user", "content": QUESTIONS[turn % 3].format(["Rome", "12", "7"][turn % 3])})
            computed, length = self.turn(server, messages)
            called += any(message.get("tool_calls") for message in messages[before:])
            if turn > 0:
                self.assertLess(computed, 120, f"turn {turn} of {length} tokens")
        self.assertGreater(length, 1500)
        self.assertGreater(called, 10)
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
