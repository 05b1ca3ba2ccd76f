"""Starts flash-moe serve for tests, and stops it."""

import contextlib
import json
import os
import pathlib
import subprocess
import threading
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "sprout-89m-4bit"
PROGRAM = os.environ.get("FLASHMOE_PROGRAM", str(ROOT / "build" / "release-test" / "flash-moe"))


class Server:
    """A running server. `url` has no slash at its end; `requests` are the log's entries."""

    def __init__(self, *flags, port=0, model=MODEL):
        self.requests = []
        self._told = threading.Condition()
        self.process = subprocess.Popen(
            [PROGRAM, "serve", str(model), "--port", str(port), "--json", "--resident-set", "off", *flags],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.url = None
        for line in self.process.stderr:
            entry = self._entry(line)
            if entry.get("event") == "ready":
                self.url = entry["url"]
                break
        if self.url is None:
            raise RuntimeError("the server did not start")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @staticmethod
    def _entry(line):
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(line)
        return {"event": "text", "text": line}

    def _read(self):
        for line in self.process.stderr:
            with self._told:
                self.requests.append(self._entry(line))
                self._told.notify_all()

    def tells(self, is_wanted):
        """Whether the log has an entry that `is_wanted`, or gets it: lines may come behind the answer."""
        with self._told:
            return self._told.wait_for(lambda: any(is_wanted(entry) for entry in self.requests), timeout=30)

    def stop(self, signal=15):
        """Its exit code."""
        self.process.send_signal(signal)
        code = self.process.wait(60)
        self._reader.join(10)
        self.process.stderr.close()
        return code

    def kill(self):
        self.stop(signal=9)

    def get(self, path, **headers):
        with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers)) as answer:
            return answer.read().decode()

    def post(self, path, body, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data,
                                         headers={"Content-Type": "application/json", **headers})
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())

    def status_of(self, path, body=None, **headers):
        """A POST where there is a body."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request) as answer:
                answer.read()
                return answer.status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    def metric(self, name):
        """The sum over its labels."""
        values = [line.rsplit(" ", 1)[1] for line in self.get("/metrics").splitlines()
                  if line.split("{")[0].split(" ")[0] == name]
        return sum(float(value) for value in values)


TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "Current weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}},
    {"type": "function", "function": {
        "name": "calculator", "description": "Evaluates an arithmetic expression",
        "parameters": {"type": "object", "properties": {"expression": {"type": "string"}},
                       "required": ["expression"]}}},
    {"type": "function", "function": {
        "name": "read_file", "description": "Reads a text file",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}}},
]
