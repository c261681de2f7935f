"""Starting the test double of the API server, and the real `kfdet` against it."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

SERVER = Path(__file__).with_name("server.py")


class Double:
    """The server's process, and the kfdet processes that talk to it."""

    def __init__(self, port, folder):
        self.host = f"http://127.0.0.1:{port}"
        self.folder = folder

    def control(self, path, body=None, method="POST"):
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(
            f"{self.host}/_double/{path}",
            data=data,
            method=method,
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=180) as response:
            return json.loads(response.read())

    def plan(self, frames, logs=None, **more):
        """Says what the runs do that are created from now on."""
        self.control("plan", {"frames": frames, "logs": logs or {}, **more})

    def behave(self, mode, **more):
        self.control("behave", {"mode": mode, **more})

    def seen(self, method, path):
        """Returns the bodies of the requests of a kind."""
        requests = self.control("seen", method="GET")["requests"]
        return [r for r in requests if r["method"] == method and r["path"].split("?")[0] == path]

    def kfdet(self, *arguments, code=0, environment=None, host=None):
        """Runs kfdet; returns what it printed. Its exit code must be as given."""
        done = subprocess.run(
            [sys.executable, "-m", "kfdet.cli.main", *map(str, arguments)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=1800,
            env=self.environment(host=host) | (environment or {}),
        )
        whole = f"{done.stdout}\n--\n{done.stderr}"
        assert done.returncode == code, whole
        assert "Traceback" not in whole
        return done

    def environment(self, *, host=None):
        # No configuration of kubectl, and no context of the SDK, of the machine that tests run on.
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("KF", "KUBE"))}
        return kept | {
            "KF_PIPELINES_ENDPOINT": host or self.host,
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.folder / "none"),
            "COLUMNS": "200",
        }


@contextlib.contextmanager
def started(folder, *options):
    """Starts a server in a process of its own and ends it."""
    ready = folder / "port"
    ready.unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, str(SERVER), "--port-file", str(ready), *options])
    try:
        until = time.monotonic() + 120
        while not ready.exists():
            assert process.poll() is None, "the test double ended"
            assert time.monotonic() < until, "the test double does not start"
            time.sleep(0.05)
        yield Double(int(ready.read_text()), folder)
    finally:
        process.terminate()
        process.wait(timeout=180)
