"""What each API says at its endpoints, over plain HTTP: paths, models, errors, answers without a model."""

import json
import unittest
import urllib.error
import urllib.parse
import urllib.request

from serving import MODEL as MODEL_FOLDER, Server

MODEL = "sprout-89m-4bit"
ANTHROPIC = {"anthropic-version": "2023-06-01"}
HELLO = [{"role": "user", "content": "Hello"}]


class Dialects(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--model-alias", f"org/{MODEL}")

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def ask(self, path, body=None, method=None, **headers):
        """Status, headers and body."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.server.url + path, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read().decode()

    def test_finds_endpoints_however_clients_spell_them(self):
        chat = {"messages": HELLO, "max_tokens": 1}
        for path in ("/v1//chat/completions", "/v1/chat/completions/", "/chat/completions", "/v1/v1/chat/completions"):
            self.assertEqual(json.loads(self.ask(path, chat)[2])["object"], "chat.completion", path)
        for path in ("/responses", "/v1/responses/", "//v1/responses"):
            self.assertEqual(json.loads(self.ask(path, {"input": "Hello", "max_output_tokens": 1})[2])["object"],
                             "response", path)
        for path in ("/messages", "/v1/v1/messages", "/v1/messages?beta=true"):
            self.assertEqual(json.loads(self.ask(path, chat)[2])["type"], "message", path)
        self.assertIn("input_tokens", self.ask("/messages/count_tokens", chat)[2])
        self.assertEqual(json.loads(self.ask("/completions/", {"prompt": "A", "max_tokens": 1})[2])["object"],
                         "text_completion")
        for path in ("/models", "/v1/models/", "/v1//models"):
            self.assertEqual(json.loads(self.ask(path)[2])["object"], "list", path)
        self.assertEqual(self.ask("/v1/health")[0], 200)
        self.assertEqual(self.ask("/api//version/")[0], 200)

    def test_lists_the_input_of_a_response(self):
        def answered(**body):
            return json.loads(self.ask("/v1/responses", {"max_output_tokens": 2, **body})[2])

        def listed(response, query=""):
            return json.loads(self.ask(f"/v1/responses/{response['id']}/input_items{query}")[2])

        first = answered(input="What is a river?")
        page = listed(first)
        self.assertEqual((page["object"], page["has_more"]), ("list", False))
        item, = page["data"]
        self.assertEqual((page["first_id"], page["last_id"]), (item["id"], item["id"]))
        self.assertEqual({key: item[key] for key in item if key != "id"},
                         {"type": "message", "role": "user", "status": "completed",
                          "content": [{"type": "input_text", "text": "What is a river?"}]})
        second = answered(previous_response_id=first["id"], input=[
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "water"},
            {"role": "assistant", "content": "Water."},
            {"type": "item_reference", "id": first["output"][0]["id"]},
            {"role": "user", "content": [{"type": "input_text", "text": "And a sea?"}]}])
        items = listed(second, "?order=asc")["data"]
        self.assertEqual([entry["type"] for entry in items],
                         ["message", "message", "function_call", "function_call_output", "message", "message", "message"])
        self.assertEqual(items[:2], [item, first["output"][0]])
        self.assertEqual(items[4]["content"], [{"type": "output_text", "text": "Water.", "annotations": []}])
        self.assertEqual(items[5], first["output"][0])
        self.assertEqual(listed(second)["data"], items[::-1])
        page = listed(second, f"?limit=2&order=asc&after={items[1]['id']}")
        self.assertEqual((page["data"], page["has_more"], page["last_id"]), (items[2:4], True, items[3]["id"]))
        for query in ("limit=0", "limit=101", "limit=x", "order=up", "after=none"):
            status, _, body = self.ask(f"/v1/responses/{second['id']}/input_items?{query}")
            self.assertEqual((status, json.loads(body)["error"]["param"]), (400, query.split("=")[0]))
        for path in ("resp_none/input_items", "/input_items", "input_items"):
            status, _, body = self.ask("/v1/responses/" + path)
            self.assertEqual((status, json.loads(body)["error"]["code"]), (404, "not_found"), path)
        self.assertEqual(self.ask(f"/v1/responses/{first['id']}/input_items", method="DELETE")[0], 405)
        unkept = answered(input="x", store=False)
        self.assertEqual(self.ask(f"/v1/responses/{unkept['id']}/input_items")[0], 404)

    def test_tells_ollama_what_the_weights_take(self):
        model, = json.loads(self.ask("/api/tags")[2])["models"]
        self.assertEqual(model["size"], sum(file.stat().st_size for file in MODEL_FOLDER.glob("model-*.safetensors")))
        self.assertEqual(model["details"]["format"], "safetensors")

    def test_lists_its_model_in_both_apis(self):
        models = json.loads(self.ask("/v1/models")[2])
        self.assertEqual([model["id"] for model in models["data"]], [f"org/{MODEL}"])
        for path in (f"/v1/models/org/{MODEL}", f"/v1/models/org%2F{MODEL}", f"/models/org/{MODEL}/"):
            self.assertEqual(json.loads(self.ask(path)[2]), models["data"][0], path)
            card = json.loads(self.ask(path, **ANTHROPIC)[2])
            self.assertEqual((card["type"], card["id"]), ("model", f"org/{MODEL}"))
        page = json.loads(self.ask("/v1/models?limit=20", **ANTHROPIC)[2])
        self.assertEqual(page, {"data": [card], "has_more": False, "first_id": card["id"], "last_id": card["id"]})
        self.assertRegex(card["created_at"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        rest = json.loads(self.ask("/v1/models?" + urllib.parse.urlencode({"after_id": card["id"]}), **ANTHROPIC)[2])
        self.assertEqual(rest, {"data": [], "has_more": False, "first_id": None, "last_id": None})

    def test_says_what_is_wrong_in_the_words_of_each_api(self):
        def openai(text):
            error = json.loads(text)["error"]
            self.assertEqual(set(error) & {"message", "type", "param", "code"}, {"message", "type", "param", "code"})
            return error["type"]

        def anthropic(text):
            error = json.loads(text)
            self.assertEqual(error["type"], "error")
            return error["error"]["type"]

        status, _, text = self.ask("/v1/models/nothing")
        self.assertEqual((status, json.loads(text)["error"]["code"]), (404, "model_not_found"))
        status, _, text = self.ask("/v1/models/nothing", **ANTHROPIC)
        self.assertEqual((status, anthropic(text)), (404, "not_found_error"))
        for path, headers, read in (("/v1/nothing", {}, openai), ("/v1/messages/batches", {}, anthropic),
                                    ("/v1/complete", ANTHROPIC, anthropic)):
            status, _, text = self.ask(path, **headers)
            self.assertEqual((status, read(text)), (404, "not_found_error"), path)
        status, _, text = self.ask("/api/nothing")
        self.assertEqual(status, 404)
        self.assertIn("/api/nothing", json.loads(text)["error"])
        for path, read in (("/v1/chat/completions", openai), ("/v1/responses", openai), ("/messages", anthropic)):
            status, headers, text = self.ask(path)
            self.assertEqual((status, read(text), headers["Allow"]), (405, "invalid_request_error", "POST"), path)
            status, _, text = self.ask(path, b"{")
            self.assertEqual((status, read(text)), (400, "invalid_request_error"), path)
        status, headers, text = self.ask("/api/chat")
        self.assertEqual((status, headers["Allow"], type(json.loads(text)["error"])), (405, "POST", str))

    def test_an_empty_conversation_is_nobody_elses_load(self):
        empty_block = [{"role": "user", "content": [{"type": "text", "text": ""}]}]
        self.assertEqual(json.loads(self.ask("/v1/messages", {"max_tokens": 1, "messages": empty_block})[2])["type"],
                         "message")
        silence = [{"role": "assistant", "content": ""}]
        for path, body in (("/v1/chat/completions", {"messages": silence}),
                           ("/v1/messages", {"messages": silence, "max_tokens": 1}),
                           ("/v1/responses", {"input": [{"type": "reasoning", "summary": []}]}),
                           ("/v1/chat/completions", {"messages": silence, "stream": True})):
            status, _, text = self.ask(path, body)
            self.assertEqual(status, 400, path)
            self.assertIn("nothing to answer", json.loads(text)["error"]["message"])

    def test_lends_its_tokenizer_to_harnesses(self):
        end = json.loads(self.ask("/tokenizer_info")[2])["eos_token"]
        tokens = json.loads(self.ask("/tokenize", {"prompt": end, "add_special_tokens": False})[2])
        self.assertEqual((len(tokens["tokens"]), tokens["count"]), (1, 1))
        self.assertEqual(json.loads(self.ask("/detokenize", {"tokens": tokens["tokens"]})[2])["prompt"], end)

    def test_tells_ollamas_clients_what_becomes_of_models(self):
        name = f"org/{MODEL}"
        for body in ({"model": name}, {"name": name + ":latest"}):
            status, headers, text = self.ask("/api/pull", body)
            self.assertEqual((status, headers["Content-Type"]), (200, "application/x-ndjson"))
            lines = [json.loads(line)["status"] for line in text.splitlines()]
            self.assertEqual(lines[-1], "success")
        self.assertEqual(json.loads(self.ask("/api/pull", {"model": name, "stream": False})[2]), {"status": "success"})
        status, _, text = self.ask("/api/pull", {"model": "llama3"})
        self.assertEqual(status, 404)
        self.assertRegex(json.loads(text)["error"], f"llama3 is not here.*{name}")
        self.assertEqual(self.ask("/api/pull", {})[0], 400)
        for path, method in (("/api/create", "POST"), ("/api/copy", "POST"), ("/api/push", "POST"),
                             ("/api/delete", "DELETE"), ("/api/embed", "POST"), ("/api/embeddings", "POST")):
            status, _, text = self.ask(path, {"model": name, "input": "x"}, method=method)
            self.assertEqual((status, type(json.loads(text)["error"])), (501, str), path)
        self.assertEqual(json.loads(self.ask("/v1/embeddings", {"input": "x"})[2])["error"]["type"],
                         "not_supported_error")


if __name__ == "__main__":
    unittest.main()
