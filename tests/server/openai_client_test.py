"""OpenAI's own client against a running server."""

import json
import time
import unittest

import openai

from serving import TOOLS, Server

MODEL = "sprout-89m-4bit"
QUESTION = [{"role": "user", "content": "What is the weather in Paris?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"},
                                           "sky": {"enum": ["clear", "cloudy", "rain"]}},
          "required": ["city", "degrees", "sky"], "additionalProperties": False}


class OpenAiClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="none", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def chat(self, messages=None, **options):
        options = {"temperature": 0, "max_tokens": 48, **options}
        return self.client.chat.completions.create(model=MODEL, messages=messages or QUESTION, **options)

    def test_answers_the_same_streamed_and_whole(self):
        messages = [{"role": "user", "content": "Write a poem about the sea."}]
        whole = self.chat(messages)
        text, finish, usage = "", None, None
        for chunk in self.chat(messages, stream=True, stream_options={"include_usage": True}):
            if chunk.usage:
                usage = chunk.usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual(finish, whole.choices[0].finish_reason)
        self.assertEqual(usage.completion_tokens, whole.usage.completion_tokens)
        self.assertEqual(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)

    def test_runs_a_whole_agent_loop(self):
        messages = [{"role": "user", "content": "What is 12 + 30?"}]
        first = self.chat(messages, tools=TOOLS)
        self.assertEqual(first.choices[0].finish_reason, "tool_calls")
        call = first.choices[0].message.tool_calls[0]
        self.assertEqual(call.function.name, "calculator")
        self.assertIn("expression", json.loads(call.function.arguments))
        self.assertNotIn("tool_call", first.choices[0].message.content or "")
        messages += [first.choices[0].message.model_dump(exclude_none=True),
                     {"role": "tool", "tool_call_id": call.id, "content": "42"}]
        second = self.chat(messages, tools=TOOLS)
        self.assertEqual(second.choices[0].finish_reason, "stop")
        self.assertIn("42", second.choices[0].message.content)
        # The second turn went on from where the first had come to.
        computed = second.usage.prompt_tokens - second.usage.prompt_tokens_details.cached_tokens
        self.assertLess(computed, 40)

    def test_streams_tool_calls_in_parts_that_make_json(self):
        name, arguments, content, ids = "", "", "", set()
        for chunk in self.chat(tools=TOOLS, stream=True):
            delta = chunk.choices[0].delta
            content += delta.content or ""
            for call in delta.tool_calls or []:
                self.assertEqual(call.index, 0)
                ids |= {call.id} if call.id else set()
                name += call.function.name or ""
                arguments += call.function.arguments or ""
        self.assertEqual((name, content), ("get_weather", ""))
        self.assertEqual(json.loads(arguments), {"city": "Paris"})
        self.assertEqual(len(ids), 1)

    def test_calls_the_tool_that_it_must(self):
        for choice in ({"type": "function", "function": {"name": "read_file"}}, "required"):
            reply = self.chat([{"role": "user", "content": "Tell me a story."}], tools=TOOLS,
                              tool_choice=choice, max_tokens=200)
            call = reply.choices[0].message.tool_calls[0]
            if choice != "required":
                self.assertEqual(call.function.name, "read_file")
            self.assertIsInstance(json.loads(call.function.arguments), dict)

    def test_calls_none_where_it_must_not(self):
        reply = self.chat(tools=TOOLS, tool_choice="none")
        self.assertIsNone(reply.choices[0].message.tool_calls)

    def test_holds_to_a_schema(self):
        for seed in range(3):
            reply = self.chat([{"role": "user", "content": "The weather in Rome as JSON"}], max_tokens=400,
                              temperature=1, seed=seed, response_format={
                                  "type": "json_schema",
                                  "json_schema": {"name": "weather", "schema": SCHEMA, "strict": True}})
            if reply.choices[0].finish_reason == "length":
                continue
            value = json.loads(reply.choices[0].message.content)
            self.assertEqual(set(value), {"city", "degrees", "sky"})
            self.assertIsInstance(value["degrees"], int)
            self.assertIn(value["sky"], ["clear", "cloudy", "rain"])
        with self.assertRaisesRegex(openai.BadRequestError, "pattern"):
            self.chat(response_format={"type": "json_schema", "json_schema": {
                "name": "x", "schema": {"type": "string", "pattern": "a(?=b)"}, "strict": True}})

    def test_makes_any_json_object(self):
        reply = self.chat([{"role": "user", "content": "A person as JSON"}], max_tokens=300,
                          response_format={"type": "json_object"})
        if reply.choices[0].finish_reason == "stop":
            self.assertIsInstance(json.loads(reply.choices[0].message.content), dict)

    def test_gives_logprobs_of_responses_too(self):
        options = {"model": MODEL, "input": "Write a poem about the sea.", "temperature": 0, "max_output_tokens": 12,
                   "include": ["message.output_text.logprobs"]}
        for top in (None, 2):
            reply = self.client.responses.create(**options, **({"top_logprobs": top} if top else {}))
            part = reply.output[-1].content[0]
            self.assertEqual("".join(token.token for token in part.logprobs), part.text)
            self.assertEqual({len(token.top_logprobs) for token in part.logprobs}, {top or 0})
        with self.client.responses.stream(**options) as stream:
            streamed = [token.token for event in stream if event.type == "response.output_text.delta"
                        for token in event.logprobs]
        self.assertEqual("".join(streamed), part.text)

    def test_tells_usage_at_the_end_of_any_stream_that_asks(self):
        asked = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 3, "temperature": 0}
        chat = list(self.chat(**asked))
        completion = list(self.client.completions.create(model=MODEL, prompt="One", **asked))
        for chunks in (chat, completion):
            self.assertTrue(all(chunk.usage is None and chunk.choices for chunk in chunks[:-1]))
            self.assertEqual((chunks[-1].choices, chunks[-1].usage.completion_tokens), ([], 3))
        self.assertTrue(all(chunk.usage is None for chunk in self.chat(stream=True, max_tokens=3)))

    def test_takes_what_sdks_send_for_nothing(self):
        tools = [{"type": "function", "function": {"name": "now", "parameters": None, "description": None}}]
        for choice in ("auto", "required"):
            reply = self.chat(tools=tools, tool_choice=choice, max_tokens=100, top_logprobs=0, logprobs=False)
            self.assertIsNone(reply.choices[0].logprobs)
        self.assertEqual(reply.choices[0].message.tool_calls[0].function.name, "now")
        seeds = [self.chat([{"role": "user", "content": "Hi"}], temperature=1, seed=2**63 + 11).choices[0].message.content
                 for _ in range(2)]
        self.assertEqual(*seeds)

    def test_gives_logprobs(self):
        reply = self.chat([{"role": "user", "content": "Hello"}], logprobs=True, top_logprobs=3, max_tokens=6)
        content = reply.choices[0].logprobs.content
        self.assertEqual("".join(token.token for token in content), reply.choices[0].message.content)
        none = self.chat([{"role": "user", "content": "Hello"}], logprobs=True, top_logprobs=0, max_tokens=6)
        self.assertEqual([(token.logprob, token.top_logprobs) for token in none.choices[0].logprobs.content],
                         [(token.logprob, []) for token in content])
        for token in content:
            self.assertEqual(len(token.top_logprobs), 3)
            self.assertEqual(token.top_logprobs[0].token, token.token)
            self.assertLess(token.logprob, 0)

    def test_gives_several_choices_that_a_seed_decides(self):
        options = {"n": 3, "temperature": 1, "seed": 5, "max_tokens": 12}
        story = [{"role": "user", "content": "Tell me a story."}]
        texts = [[choice.message.content for choice in self.chat(story, **options).choices] for _ in range(2)]
        self.assertEqual(texts[0], texts[1])
        self.assertEqual(len(set(texts[0])), 3)

    def test_stops_at_a_text(self):
        whole = self.chat([{"role": "user", "content": "Write a poem about the sea."}]).choices[0].message.content
        stop = whole[10:14]
        cut = self.chat([{"role": "user", "content": "Write a poem about the sea."}], stop=[stop])
        self.assertEqual(cut.choices[0].message.content, whole[:whole.index(stop)])
        self.assertEqual(cut.choices[0].finish_reason, "stop")

    def test_bias_moves_the_choice(self):
        first = self.chat([{"role": "user", "content": "Hello"}], logprobs=True, max_tokens=1)
        ids = self.server.post("/tokenize", {"content": first.choices[0].message.content})["tokens"]
        other = self.chat([{"role": "user", "content": "Hello"}], max_tokens=1, logit_bias={str(ids[0]): -100})
        self.assertNotEqual(first.choices[0].message.content, other.choices[0].message.content)

    def test_completes_texts_and_token_ids(self):
        text = self.client.completions.create(model=MODEL, prompt="def add(a, b):", max_tokens=8, temperature=0)
        ids = self.server.post("/tokenize", {"content": "def add(a, b):"})["tokens"]
        same = self.client.completions.create(model=MODEL, prompt=ids, max_tokens=8, temperature=0)
        self.assertEqual(text.choices[0].text, same.choices[0].text)
        both = self.client.completions.create(model=MODEL, prompt=["def add(a, b):", "Once upon"], max_tokens=8,
                                              temperature=0, echo=True)
        self.assertEqual(both.choices[0].text, "def add(a, b):" + text.choices[0].text)
        self.assertTrue(both.choices[1].text.startswith("Once upon"))
        streamed = "".join(chunk.choices[0].text for chunk in self.client.completions.create(
            model=MODEL, prompt="def add(a, b):", max_tokens=8, temperature=0, stream=True))
        self.assertEqual(streamed, text.choices[0].text)

    def test_speaks_the_responses_api(self):
        tools = [{"type": "function", **tool["function"]} for tool in TOOLS]
        question = [{"role": "user", "content": "What is 12 + 30?"}]
        first = self.client.responses.create(model=MODEL, input=question, tools=tools, temperature=0)
        call = next(item for item in first.output if item.type == "function_call")
        self.assertEqual(call.name, "calculator")
        question += [item.model_dump(exclude_none=True) for item in first.output]
        question.append({"type": "function_call_output", "call_id": call.call_id, "output": "42"})
        second = self.client.responses.create(model=MODEL, input=question, tools=tools, temperature=0)
        self.assertIn("42", second.output_text)
        self.assertEqual(second.status, "completed")
        with self.client.responses.stream(model=MODEL, input=question, tools=tools, temperature=0) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_response()
        self.assertEqual(final.output_text, second.output_text)
        self.assertEqual((kinds[0], kinds[-1]), ("response.created", "response.completed"))
        cut = self.client.responses.create(model=MODEL, input="Tell me a story.", max_output_tokens=3)
        self.assertEqual((cut.status, cut.incomplete_details.reason), ("incomplete", "max_output_tokens"))

    def test_lists_its_model(self):
        self.assertEqual([model.id for model in self.client.models.list()], [MODEL])
        self.assertEqual(self.client.models.retrieve(MODEL).id, MODEL)

    def test_says_what_is_wrong(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(temperature=-1)
        self.assertEqual(caught.exception.param, "temperature")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat([{"role": "user", "content": "word " * 5000}])
        self.assertEqual(caught.exception.code, "context_length_exceeded")
        with self.assertRaises(openai.BadRequestError):
            self.chat([{"role": "robot", "content": "x"}])
        with self.assertRaises(openai.APIStatusError) as caught:
            self.client.embeddings.create(model=MODEL, input="x")
        self.assertEqual(caught.exception.status_code, 501)
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("nothing")

    def test_ends_what_a_client_leaves(self):
        before = self.server.metric("flashmoe_requests_cancelled_total")
        stream = self.chat([{"role": "user", "content": "Tell me a long story."}], stream=True, max_tokens=3000,
                           extra_body={"ignore_eos": True})
        for _ in range(3):
            next(stream)
        stream.close()
        for _ in range(100):
            if self.server.metric("flashmoe_requests_cancelled_total") > before:
                break
            time.sleep(0.05)
        self.assertGreater(self.server.metric("flashmoe_requests_cancelled_total"), before)
        self.assertEqual(self.server.metric("vllm:num_requests_running"), 0)


if __name__ == "__main__":
    unittest.main()
