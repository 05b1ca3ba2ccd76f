"""What clients must not be able to do to a server. Needs nothing but Python."""

import concurrent.futures
import http.client
import json
import socket
import time
import unittest
import urllib.error

from serving import Server

HELLO = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
CHAT = "/v1/chat/completions"


class HostileUse(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--parallel", "2", "--queue", "2", "--api-key", "first-key", "--api-key", "second",
                            "--body-max", "1MiB", "--cors-origin", "https://good.example",
                            "--allow-host", "my-box", "--memory", "200MB")
        cls.key = {"Authorization": "Bearer first-key"}

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def connect(self):
        host, port = self.server.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=20)

    def status_of(self, path, body=None, **headers):
        return self.server.status_of(path, body, **headers)

    def assert_alive(self):
        self.assertEqual(self.server.post(CHAT, HELLO, **self.key)["object"], "chat.completion")

    def test_keys_are_asked_for_and_compared(self):
        self.assertEqual(self.status_of(CHAT, HELLO), 401)
        for wrong in ("Bearer first", "Bearer first-keyfirst-key", "first-key", "Bearer "):
            self.assertEqual(self.status_of(CHAT, HELLO, Authorization=wrong), 401, wrong)
        self.assertEqual(self.status_of(CHAT, HELLO, **{"x-api-key": "second"}), 200)
        self.assertEqual(self.status_of("/health"), 200)
        self.assertEqual(self.status_of("/metrics"), 401)

    def test_foreign_names_and_origins_are_refused(self):
        for host in ("evil.example", "evil.example:8080", "localhost.evil.example"):
            self.assertEqual(self.status_of("/health", Host=host), 403, host)
        for host in ("localhost:1", "127.0.0.1", "[::1]:8080", "my-box", "MY-BOX:80", "app.localhost",
                     "host.docker.internal:8080"):
            self.assertEqual(self.status_of("/health", Host=host), 200, host)
        for origin in ("https://evil.example", "null", "http://localhost:3000"):
            self.assertEqual(self.status_of("/health", Origin=origin), 403, origin)
        self.assertEqual(self.status_of("/health", Origin="https://good.example"), 200)
        self.assertEqual(self.status_of("/health", Origin=self.server.url), 200)

    def test_pages_that_ollama_lets_in_may_speak_its_dialect(self):
        for origin in ("http://localhost:3000", "https://127.0.0.1", "app://obsidian.md", "tauri://localhost",
                       "vscode-webview://1b2c", "file://"):
            self.assertEqual(self.status_of("/api/chat", {**HELLO, "stream": False}, Origin=origin, **self.key), 200)
            self.assertEqual(self.status_of("/api/version", Origin=origin), 401, "the key is asked for all the same")
            self.assertEqual(self.status_of(CHAT, HELLO, Origin=origin, **self.key), 403, origin)
        self.assertEqual(self.status_of("/api/chat", HELLO, Origin="null", **self.key), 403)
        self.assertEqual(self.status_of("/api/chat", HELLO, Origin="http://localhost.evil", **self.key), 403)

    def ask_raw(self, request, half_closes=False):
        client = self.connect()
        client.sendall(request)
        if half_closes:
            client.shutdown(socket.SHUT_WR)
        answer = b""
        while part := client.recv(65536):
            answer += part
        client.close()
        return answer.decode()

    def raw_request(self, target=CHAT, host="Host: localhost\r\n", more="", body=None):
        body = json.dumps(HELLO if body is None else body).encode()
        return (f"POST {target} HTTP/1.1\r\n{host}Authorization: Bearer second\r\n{more}Connection: close\r\n"
                f"Content-Length: {len(body)}\r\n\r\n").encode() + body

    def test_targets_hosts_and_encodings_are_as_http_wants_them(self):
        ok = "HTTP/1.1 200"
        self.assertTrue(self.ask_raw(self.raw_request("http://localhost:1" + CHAT)).startswith(ok))
        # What the target names counts, whatever Host says.
        self.assertIn(" 403 ", self.ask_raw(self.raw_request("http://evil.example" + CHAT))[:20])
        self.assertIn(" 400 ", self.ask_raw(self.raw_request(host=""))[:20])
        twice = self.ask_raw(self.raw_request("/v1/messages", host="Host: localhost\r\nHost: localhost\r\n"))
        self.assertIn(" 400 ", twice[:20])
        self.assertIn('"type":"error"', twice, "in the dialect's words")
        for encoding in ("gzip", "br"):
            refused = self.ask_raw(self.raw_request("/api/chat", more=f"Content-Encoding: {encoding}\r\n"))
            self.assertIn(" 415 ", refused[:20])
            self.assertIn('{"error":"', refused)
        self.assertTrue(self.ask_raw(self.raw_request(more="Content-Encoding: identity\r\n")).startswith(ok))

    def test_a_client_that_sends_no_more_gets_its_answer(self):
        whole = self.ask_raw(self.raw_request(), half_closes=True)
        self.assertIn("HTTP/1.1 200 OK", whole)
        self.assertIn("chat.completion", whole)
        streamed = self.ask_raw(self.raw_request(body={**HELLO, "stream": True, "max_tokens": 40,
                                                       "ignore_eos": True}), half_closes=True)
        self.assertIn("data: [DONE]", streamed)
        self.assertTrue(streamed.endswith("0\r\n\r\n"))

    def test_pages_that_may_ask_may_read(self):
        host, port = self.server.url.removeprefix("http://").split(":")
        client = http.client.HTTPConnection(host, int(port), timeout=20)
        good, evil = "https://good.example", "https://evil.example"
        body = json.dumps({**HELLO, "stream": True})
        for origin, method, path, headers, status in (
                (good, "OPTIONS", CHAT, {"Access-Control-Request-Headers": "authorization"}, 204),
                (good, "GET", "/health", {}, 200), (good, "POST", CHAT, self.key, 200), (good, "POST", CHAT, {}, 401),
                (evil, "GET", "/health", {}, 403)):
            client.request(method, path, body if method == "POST" else None, {"Origin": origin, **headers})
            answer = client.getresponse()
            answer.read()
            self.assertEqual(answer.status, status)
            self.assertEqual(answer.headers["Access-Control-Allow-Origin"], good if origin == good else None, (method, path))
        client.close()

    def test_garbage_is_answered_and_forgotten(self):
        bodies = [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"messages": 3}', b'{"messages": []}',
                  b'{"messages": [3]}', b'{"messages": [{"role": "user", "content": {}}]}',
                  b'{"messages": [{"role": 5, "content": "x"}]}', b"[" * 100_000, b'{"a":' * 100_000,
                  json.dumps({**HELLO, "max_tokens": "x"}).encode(), json.dumps({**HELLO, "n": 1000}).encode(),
                  json.dumps({**HELLO, "logit_bias": {"x": 1}}).encode(),
                  json.dumps({**HELLO, "tools": [{}]}).encode(),
                  json.dumps({**HELLO, "stop": [1]}).encode(),
                  json.dumps({**HELLO, "temperature": 1e999}).encode()]
        for path in (CHAT, "/v1/completions", "/v1/responses", "/v1/messages", "/v1/messages/count_tokens",
                     "/api/chat", "/api/generate", "/tokenize", "/detokenize", "/apply-template"):
            for body in bodies:
                status = self.status_of(path, body, **self.key)
                self.assertIn(status, (200, 400) if path.startswith("/api/") or b"user" in body else (400,),
                              (path, body[:60]))
        self.assertEqual(self.status_of("/v1/nothing", HELLO, **self.key), 404)
        self.assertEqual(self.status_of(CHAT, **self.key), 405)
        self.assertEqual(self.status_of("/../../etc/passwd", **self.key), 404)
        self.assert_alive()

    def test_hostile_schemas_are_refused_or_bounded(self):
        deep = {"type": "object"}
        for _ in range(90):
            deep = {"type": "array", "items": deep}
        endless = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
        wide = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(25_000)}}
        many = {"anyOf": [{"anyOf": [{"type": "object"}] * 60}] * 60}
        for schema, allowed in ((deep, (400,)), (wide, (400,)), (endless, (200, 400)), (many, (200, 400)),
                                ({"$ref": "#"}, (400,)), ({"enum": []}, (400,)), ("x", (400,))):
            body = {**HELLO, "max_tokens": 40, "response_format": {
                "type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}
            self.assertIn(self.status_of(CHAT, body, **self.key), allowed, str(schema)[:60])
        self.assert_alive()

    def test_large_bodies_are_refused(self):
        body = json.dumps({"messages": [{"role": "user", "content": "x" * 2_000_000}]}).encode()
        self.assertEqual(self.status_of(CHAT, body, **self.key), 413)
        for path, form in (("/v1/messages", '"type":"request_too_large"'), ("/api/chat", '{"error":"the body'),
                           (CHAT, '"type":"invalid_request_error"')):
            with self.assertRaises(urllib.error.HTTPError) as refused:
                self.server.post(path, body, **self.key)
            self.assertIn(form, refused.exception.read().decode())
        # Who may not ask is not read at all.
        self.assertEqual(self.status_of(CHAT, body[:900_000]), 401)
        self.assert_alive()

    def test_a_full_queue_says_when_to_come_back(self):
        def ask(_):
            try:
                self.server.post(CHAT, {**HELLO, "max_tokens": 300, "ignore_eos": True}, **self.key)
            except urllib.error.HTTPError as error:
                return error.code, error.headers["Retry-After"]
            return 200, None
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(ask, range(12)))
        self.assertEqual({code for code, _ in answers}, {200, 429})
        self.assertTrue(all(after for code, after in answers if code == 429))
        self.assert_alive()

    def test_clients_that_vanish_or_stall_cost_nothing(self):
        stalled = [self.connect() for _ in range(300)]
        for client in stalled[:100]:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Le")
        for _ in range(30):
            client = self.connect()
            body = json.dumps({**HELLO, "stream": True, "max_tokens": 2000, "ignore_eos": True}).encode()
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                           b"Authorization: Bearer second\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            client.close()
        for _ in range(200):
            if self.status_of(CHAT, HELLO, **self.key) == 200:
                break
            time.sleep(0.05)
        else:
            self.fail("clients that had gone were still served")
        for client in stalled:
            client.close()

    def test_one_connection_serves_many_requests(self):
        host, port = self.server.url.removeprefix("http://").split(":")
        client = http.client.HTTPConnection(host, int(port), timeout=20)
        for _ in range(50):
            client.request("GET", "/health")
            self.assertEqual(client.getresponse().read(), b'{"status":"ok"}')
        client.close()


if __name__ == "__main__":
    unittest.main()
