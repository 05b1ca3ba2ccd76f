"""Anthropic's own client against a running server."""

import unittest

import anthropic
import openai

from serving import TOOLS, Server

MODEL = "sprout-89m-4bit"
TOOLS_HERE = [{"name": tool["function"]["name"], "description": tool["function"]["description"],
               "input_schema": tool["function"]["parameters"]} for tool in TOOLS]


class AnthropicClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.client = anthropic.Anthropic(base_url=cls.server.url, api_key="none", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def ask(self, messages, **options):
        options = {"extra_body": {"temperature": 0}, "max_tokens": 60, **options}
        return self.client.messages.create(model=MODEL, messages=messages, **options)

    def test_runs_a_whole_agent_loop(self):
        messages = [{"role": "user", "content": "What is the weather in Paris?"}]
        first = self.ask(messages, tools=TOOLS_HERE)
        self.assertEqual(first.stop_reason, "tool_use")
        call = first.content[-1]
        self.assertEqual((call.type, call.name, call.input), ("tool_use", "get_weather", {"city": "Paris"}))
        messages += [{"role": "assistant", "content": [block.model_dump() for block in first.content]},
                     {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id,
                                                   "content": [{"type": "text", "text": "18 degrees, sunny"}]}]}]
        second = self.ask(messages, tools=TOOLS_HERE)
        self.assertEqual(second.stop_reason, "end_turn")
        self.assertIn("18", second.content[0].text)
        self.assertGreater(second.usage.cache_read_input_tokens, 50)
        self.assertLess(second.usage.input_tokens, 40)

    def test_streams_events_in_their_order(self):
        messages = [{"role": "user", "content": "What is the weather in Paris?"}]
        whole = self.ask(messages, tools=TOOLS_HERE)
        with self.client.messages.stream(model=MODEL, messages=messages, tools=TOOLS_HERE, max_tokens=60,
                                         extra_body={"temperature": 0}) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_message()
        self.assertEqual(final.content[-1].input, whole.content[-1].input)
        self.assertEqual(final.stop_reason, "tool_use")
        self.assertEqual(kinds[0], "message_start")
        self.assertEqual(kinds[-1], "message_stop")
        self.assertEqual(kinds.count("content_block_start"), kinds.count("content_block_stop"))

    def test_takes_system_texts_and_stop_sequences(self):
        messages = [{"role": "user", "content": [{"type": "text", "text": "Write a poem about the sea."}]}]
        system = [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]
        whole = self.ask(messages, system=system).content[0].text
        stop = whole[8:12]
        cut = self.ask(messages, system=system, stop_sequences=["never", stop])
        self.assertEqual((cut.stop_reason, cut.stop_sequence), ("stop_sequence", stop))
        self.assertEqual(cut.content[0].text, whole[:whole.index(stop)])
        self.assertEqual(self.ask(messages, max_tokens=3).stop_reason, "max_tokens")

    def test_goes_on_with_what_an_assistant_began(self):
        messages = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "One, two,"}]
        self.assertTrue(self.ask(messages).content[0].text)

    def test_a_stream_begins_with_the_counts_that_it_ends_with(self):
        messages = [{"role": "user", "content": "Which boats sail between the islands of the south in winter?"}]
        self.ask(messages, max_tokens=1)
        with self.client.messages.stream(model=MODEL, messages=messages, max_tokens=4) as stream:
            events = list(stream)
        first = next(event.message.usage for event in events if event.type == "message_start")
        last = next(event.usage for event in events if event.type == "message_delta")
        self.assertGreater(first.cache_read_input_tokens, 10)
        for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
            self.assertEqual(getattr(first, name), getattr(last, name), name)
        counted = self.client.messages.count_tokens(model=MODEL, messages=messages)
        self.assertEqual(first.input_tokens + first.cache_read_input_tokens, counted.input_tokens)

    def test_answers_turns_without_words(self):
        empty = [{"role": "user", "content": [{"type": "text", "text": ""}]}]
        self.assertEqual(self.ask(empty, max_tokens=4).role, "assistant")
        self.assertEqual(self.ask([{"role": "user", "content": "Hello"}, {"role": "assistant", "content": ""}],
                                  max_tokens=4).role, "assistant")
        with self.assertRaisesRegex(anthropic.BadRequestError, "nothing to answer"):
            self.ask([{"role": "assistant", "content": ""}])

    def test_takes_null_for_what_a_tool_leaves_out(self):
        tools = [{**tool, "type": None} for tool in TOOLS_HERE]
        reply = self.ask([{"role": "user", "content": "Hello"}], tools=tools, tool_choice={"type": "any"}, max_tokens=200)
        self.assertIn(reply.content[-1].name, [tool["name"] for tool in TOOLS_HERE])

    def test_lists_its_model(self):
        models = self.client.models.list(limit=20)
        self.assertEqual([model.id for model in models], [MODEL])
        card = self.client.models.retrieve(MODEL)
        self.assertEqual((card.type, card.display_name, card.created_at.year > 2000), ("model", MODEL, True))
        with self.assertRaises(anthropic.NotFoundError):
            self.client.models.retrieve("nothing")

    def test_counts_tokens(self):
        messages = [{"role": "user", "content": "What is the weather in Paris?"}]
        counted = self.client.messages.count_tokens(model=MODEL, messages=messages, tools=TOOLS_HERE)
        usage = self.ask(messages, tools=TOOLS_HERE).usage
        self.assertEqual(counted.input_tokens, usage.input_tokens + usage.cache_read_input_tokens)

    def test_must_call_and_shares_its_cache_with_other_dialects(self):
        messages = [{"role": "user", "content": "Tell me of the rivers of the north and their bridges."}]
        first = self.ask(messages, tools=TOOLS_HERE, tool_choice={"type": "tool", "name": "calculator"},
                         max_tokens=200)
        self.assertEqual(first.content[-1].name, "calculator")
        other = openai.OpenAI(base_url=self.server.url + "/v1", api_key="none")
        reply = other.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS, max_tokens=4)
        self.assertGreater(reply.usage.prompt_tokens_details.cached_tokens, 60)

    def test_says_what_is_wrong(self):
        with self.assertRaisesRegex(anthropic.BadRequestError, "prompt is too long: [0-9]+ tokens > 4096 maximum"):
            self.ask([{"role": "user", "content": "word " * 5000}])
        with self.assertRaisesRegex(anthropic.BadRequestError, r"messages\[0\].content"):
            self.ask([{"role": "user", "content": [{"type": "text", "text": 3}]}])
        with self.assertRaises(anthropic.BadRequestError):
            self.server_post_without_limit()

    def server_post_without_limit(self):
        return self.client.post("/v1/messages", cast_to=object,
                                body={"model": MODEL, "messages": [{"role": "user", "content": "x"}]})


if __name__ == "__main__":
    unittest.main()
