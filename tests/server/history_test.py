"""Histories that agents send, by their own clients: what a text model cannot read does not end a session."""

import json
import pathlib
import tempfile
import unittest

import anthropic
import ollama
import openai

from serving import MODEL as MODEL_FOLDER
from serving import TOOLS, Server

MODEL = "sprout-89m-4bit"
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Edits files."}


class Histories(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.openai = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="none", max_retries=0)
        cls.anthropic = anthropic.Anthropic(base_url=cls.server.url, api_key="none", max_retries=0)
        cls.ollama = ollama.Client(host=cls.server.url)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def prompt_of(self, messages):
        return self.server.post("/apply-template", {"messages": messages})["prompt"]

    def test_an_image_in_a_tools_result_does_not_end_a_session(self):
        messages = [
            {"role": "user", "content": "Look at a.png."},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "read", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [IMAGE]},
                                         {"type": "text", "text": "What is it?"}]}]
        for _ in range(3):
            counted = self.anthropic.messages.count_tokens(model=MODEL, messages=messages).input_tokens
            with self.anthropic.messages.stream(model=MODEL, messages=messages, max_tokens=8) as stream:
                reply = stream.get_final_message()
            self.assertEqual(counted, reply.usage.input_tokens + reply.usage.cache_read_input_tokens)
            messages += [{"role": "assistant", "content": [block.model_dump() for block in reply.content]},
                         {"role": "user", "content": [IMAGE, {"type": "text", "text": "And now?"}]}]
        reply = self.anthropic.messages.create(model=MODEL, messages=messages, max_tokens=8)
        self.assertGreater(reply.usage.cache_read_input_tokens, reply.usage.input_tokens)
        # In the log each request names it once, however many there are.
        self.assertTrue(self.server.tells(lambda entry: any("type image" in note for note in entry.get("notes", []))))
        for entry in self.server.requests:
            self.assertLessEqual(len([note for note in entry.get("notes", []) if "type image" in note]), 1, entry)

    def test_every_dialect_has_placeholders(self):
        parts = [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,A"}},
                 {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,A"}}]
        self.assertIn("See\n[image omitted]\n[file omitted: a.pdf]", self.prompt_of([{"role": "user", "content": parts}]))
        reply = self.openai.chat.completions.create(model=MODEL, max_tokens=4,
                                                    messages=[{"role": "user", "content": parts}])
        self.assertGreater(reply.usage.prompt_tokens, 10)
        reply = self.openai.responses.create(model=MODEL, max_output_tokens=4, input=[{"role": "user", "content": [
            {"type": "input_image", "image_url": "data:image/png;base64,A", "detail": "auto"}]}])
        self.assertGreater(reply.usage.input_tokens, 5)
        message = {"role": "user", "content": "See", "images": [b"\x89PNG"]}
        self.assertTrue(self.ollama.chat(MODEL, [message], options={"num_predict": 4}).done)
        self.assertTrue(self.ollama.generate(MODEL, "See", images=[b"\x89PNG"], options={"num_predict": 4}).done)

    def test_strict_content_refuses(self):
        server = Server("--strict-content")
        self.addCleanup(server.stop)
        client = anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0)
        with self.assertRaisesRegex(anthropic.BadRequestError, r"messages\[0\].content\[0\].*image.*--strict-content"):
            client.messages.create(model=MODEL, max_tokens=4, messages=[{"role": "user", "content": [IMAGE]}])
        with self.assertRaisesRegex(anthropic.BadRequestError, "--strict-content"):
            client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": [IMAGE]}])

    def test_custom_tools_hold_a_session(self):
        options = {"model": MODEL, "tools": [PATCH], "temperature": 0, "max_output_tokens": 200}
        choice = {"type": "custom", "name": "apply_patch"}
        messages = [{"role": "user", "content": "Say what 12 + 30 is in a file."}]
        whole = self.openai.responses.create(input=messages, tool_choice=choice, **options)
        call = whole.output[-1]
        self.assertEqual((call.type, call.name), ("custom_tool_call", "apply_patch"))
        streamed, kinds = "", []
        with self.openai.responses.stream(input=messages, tool_choice=choice, **options) as stream:
            for event in stream:
                kinds.append(event.type)
                if event.type == "response.custom_tool_call_input.delta":
                    streamed += event.delta
            final = stream.get_final_response()
        self.assertEqual(streamed, call.input)
        self.assertEqual(final.output[-1].input, call.input)
        self.assertIn("response.custom_tool_call_input.done", kinds)
        messages += [call.model_dump(exclude_none=True),
                     {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "Done."}]
        second = self.openai.responses.create(input=messages, **options)
        self.assertGreater(second.usage.input_tokens_details.cached_tokens, 0.9 * whole.usage.input_tokens)

    def test_custom_tools_of_chat_are_called_with_text(self):
        tools = [{"type": "custom", "custom": {"name": "apply_patch", "description": "Edits files."}}]
        options = {"model": MODEL, "messages": [{"role": "user", "content": "Edit it."}], "tools": tools,
                   "temperature": 0, "max_tokens": 200,
                   "tool_choice": {"type": "custom", "custom": {"name": "apply_patch"}}}
        call = self.openai.chat.completions.create(**options).choices[0].message.tool_calls[0]
        self.assertEqual((call.type, call.custom.name), ("custom", "apply_patch"))
        streamed = ""
        for chunk in self.openai.chat.completions.create(stream=True, **options):
            for part in chunk.choices[0].delta.tool_calls or []:
                streamed += part.model_dump()["custom"]["input"]
        self.assertEqual(streamed, call.custom.input)

    def test_functions_of_old_are_called(self):
        functions = [tool["function"] for tool in TOOLS]
        messages = [{"role": "user", "content": "What is the weather in Paris?"}]
        options = {"model": MODEL, "functions": functions, "temperature": 0, "max_tokens": 60}
        choice = self.openai.chat.completions.create(messages=messages, **options).choices[0]
        self.assertEqual(choice.finish_reason, "function_call")
        self.assertEqual(json.loads(choice.message.function_call.arguments), {"city": "Paris"})
        arguments, finish = "", None
        for chunk in self.openai.chat.completions.create(messages=messages, stream=True, **options):
            if chunk.choices[0].delta.function_call:
                arguments += chunk.choices[0].delta.function_call.arguments or ""
            finish = chunk.choices[0].finish_reason or finish
        self.assertEqual((json.loads(arguments), finish), ({"city": "Paris"}, "function_call"))
        messages += [choice.message.model_dump(exclude_none=True),
                     {"role": "function", "name": "get_weather", "content": "18 degrees"}]
        self.assertIn("18", self.openai.chat.completions.create(messages=messages, **options).choices[0].message.content)

    def test_only_allowed_tools_are_called(self):
        messages = [{"role": "user", "content": "What is the weather in Paris?"}]
        allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [
            {"type": "function", "function": {"name": "calculator"}}]}}
        options = {"model": MODEL, "messages": messages, "tools": TOOLS, "temperature": 0, "max_tokens": 200}
        reply = self.openai.chat.completions.create(tool_choice=allowed, **options)
        self.assertEqual({call.function.name for call in reply.choices[0].message.tool_calls}, {"calculator"})
        # The prompt is the same as without: that is what it is for.
        free = self.openai.chat.completions.create(**options)
        self.assertEqual(free.usage.prompt_tokens, reply.usage.prompt_tokens)
        functions = [{"type": "function", "name": tool["function"]["name"], "strict": False,
                      "parameters": tool["function"]["parameters"]} for tool in TOOLS]
        reply = self.openai.responses.create(
            model=MODEL, input=messages, tools=functions, temperature=0, max_output_tokens=200,
            tool_choice={"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "read_file"}]})
        self.assertEqual({item.name for item in reply.output if item.type == "function_call"}, {"read_file"})

    def test_responses_go_on_from_one_another(self):
        first = self.openai.responses.create(model=MODEL, input="What is a river?", max_output_tokens=8)
        second = self.openai.responses.create(model=MODEL, input="And a sea?", max_output_tokens=8, stream=True,
                                              previous_response_id=first.id)
        second = [event.response for event in second if event.type in ("response.completed", "response.incomplete")][0]
        self.assertEqual(second.previous_response_id, first.id)
        self.assertGreater(second.usage.input_tokens, first.usage.total_tokens)
        self.assertEqual(self.openai.responses.retrieve(first.id).output_text, first.output_text)
        whole = self.openai.responses.create(model=MODEL, max_output_tokens=8, store=False, input=[
            {"role": "user", "content": "What is a river?"}, first.output[0].model_dump(exclude_none=True),
            {"role": "user", "content": "And a sea?"}])
        self.assertEqual(whole.usage.input_tokens, second.usage.input_tokens)
        with self.assertRaises(openai.NotFoundError):
            self.openai.responses.retrieve(whole.id)
        self.openai.responses.delete(first.id)
        with self.assertRaisesRegex(openai.NotFoundError, "previous_response_id"):
            self.openai.responses.create(model=MODEL, input="x", previous_response_id=second.id)

    def test_a_template_that_knows_only_a_leading_system_message_gets_marked_user_turns(self):
        template = (MODEL_FOLDER / "chat_template.jinja").read_text()
        head = "{%- for m in messages -%}{%- if m.role == 'system' and not loop.first -%}" \
               "{{- raise_exception('a system message must be the first') -}}{%- endif -%}{%- endfor -%}"
        with tempfile.TemporaryDirectory() as folder:
            for file in MODEL_FOLDER.iterdir():
                if file.name != "chat_template.jinja":
                    (pathlib.Path(folder) / file.name).symlink_to(file)
            (pathlib.Path(folder) / "chat_template.jinja").write_text(head + template)
            server = Server(model=folder)
            try:
                messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
                            {"role": "system", "content": "c"}, {"role": "user", "content": "d"}]
                prompt = server.post("/apply-template", {"messages": messages})["prompt"]
            finally:
                server.stop()
        self.assertIn("user\n<system>\nc\n</system>\n\nd<|im_end|>", prompt)
        self.assertIn("<|im_start|>system\nc<|im_end|>", self.prompt_of(messages))


if __name__ == "__main__":
    unittest.main()
