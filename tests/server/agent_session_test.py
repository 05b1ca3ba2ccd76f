"""Agents' sessions, which grow, and whose histories are edited: what is known is not computed again."""

import copy
import json
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


MESSAGES = "/v1/messages"
# A turn's question is some 70 tokens long.
TURN = "Question {0}: what do the rivers of the north, their bridges and the towns beside them have in common? " * 3


class EditedSession(unittest.TestCase):
    """Ten turns of /v1/messages. What an edit costs is told by usage: what was computed is input_tokens."""

    def setUp(self):
        self.server = Server("--parallel", "1", "--memory", "300MB")
        self.addCleanup(self.server.stop)

    def ask(self, messages, **fields):
        body = {"max_tokens": 12, "temperature": 0, "system": "You help. " * 20, "messages": messages, **fields}
        return self.server.post(MESSAGES, body)

    def size(self, messages):
        counted = self.server.post(MESSAGES + "/count_tokens", {"system": "You help. " * 20, "messages": messages})
        return counted["input_tokens"]

    def hold(self, turns):
        messages = []
        for turn in range(turns):
            messages.append({"role": "user", "content": TURN.format(turn)})
            messages.append({"role": "assistant", "content": self.ask(messages)["content"][0]["text"]})
        return messages

    def edits(self, messages, turn):
        """Histories that are the same up to a turn: it is changed, gone, or a system message is put before it."""
        at = 2 * turn
        changed = copy.deepcopy(messages)
        changed[at]["content"] = "Something else. " + changed[at]["content"]
        inserted = messages[:at] + [{"role": "system", "content": f"A reminder of turn {turn}."}] + messages[at:]
        return {"changed": changed, "deleted": messages[:at] + messages[at + 2:], "inserted": inserted}

    def check_edits(self, messages, distance):
        """`distance`: to the nearest checkpoint before an edit, in tokens, at most."""
        for turn in (8, 5, 2):
            known = self.size(messages[:2 * turn])
            for kind, edited in self.edits(messages, turn).items():
                question = edited + [{"role": "user", "content": f"And after the {kind} one?"}]
                usage = self.ask(question)["usage"]
                total = usage["input_tokens"] + usage["cache_read_input_tokens"]
                self.assertEqual(total, self.size(question))
                with self.subTest(turn=turn, kind=kind, total=total, computed=usage["input_tokens"]):
                    self.assertLessEqual(usage["input_tokens"], total - known + distance)
                    self.assertGreater(usage["cache_read_input_tokens"], 0)

    def test_an_edit_costs_what_follows_it(self):
        # The turn before was answered here: the nearest checkpoint is its end, or its beginning.
        self.check_edits(self.hold(10), distance=24)

    def test_an_edit_of_a_history_that_came_at_once_costs_little_more(self):
        messages = self.hold(10)
        self.server.stop()
        self.server = Server("--parallel", "1", "--memory", "300MB")
        self.addCleanup(self.server.stop)
        self.ask(messages + [{"role": "user", "content": "Go on."}])
        # A checkpoint at every turn, or nearly.
        self.check_edits(messages, distance=self.size(messages[:2]) + 64)

    def test_the_line_of_billing_that_changes_is_no_part_of_the_prompt(self):
        text = {"type": "text", "text": "You are a coding agent. " * 40}
        messages = [{"role": "user", "content": "Hello."}]
        for turn in range(3):
            header = f"x-anthropic-billing-header: cc_version=2.1.{turn}; cc_entrypoint=cli; cch=0{turn}aa9;"
            system = [{"type": "text", "text": header}, text] if turn != 1 else header + "\n" + text["text"]
            reply = self.ask(messages, system=system)
            usage = reply["usage"]
            share = usage["cache_read_input_tokens"] / (usage["input_tokens"] + usage["cache_read_input_tokens"])
            if turn > 0:
                self.assertGreater(share, 0.9, usage)
            messages += [{"role": "assistant", "content": reply["content"][0]["text"]},
                         {"role": "user", "content": "Go on."}]


if __name__ == "__main__":
    unittest.main()
