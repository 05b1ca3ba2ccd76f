"""A server to be measured."""

import json
import subprocess
import sys
import urllib.request


class ServingProcess:
    """`flash-moe serve` on a port that was free. `url` has no slash at its end."""

    def __init__(self, program, model, *flags):
        self.process = subprocess.Popen([program, "serve", model, "--port", "0", "--json", "--quiet", *flags],
                                        stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if not line.startswith("{"):
                sys.exit(line)
            entry = json.loads(line)
            if entry["event"] == "ready":
                self.url = entry["url"]
                return
        sys.exit("the server did not start")

    def status(self):
        return json.load(urllib.request.urlopen(self.url + "/v1/cache/status"))

    def stop(self):
        """Its exit code."""
        self.process.terminate()
        return self.process.wait()
