"""A user that no machine and no image knows: a cluster may choose any."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from scripts import containers

UID, GID = 12345, 23456
HELD = ("--user", f"{UID}:0", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        "--read-only", "--tmpfs", "/tmp:mode=1777", "--network", "none")  # fmt: skip


@dataclass
class User:
    """Runs kfdet as the unknown user, who reads this checkout wherever it lies and is in the
    group of the engine's socket."""

    engine: containers.Engine
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def command(self, *arguments):
        only = "-all,+dac_read_search"
        return ["setpriv", f"--reuid={UID}", f"--regid={GID}", "--clear-groups",
                f"--inh-caps={only}", f"--ambient-caps={only}", f"--bounding-set={only}",
                sys.executable, "-m", "kfdet.cli.main", *map(str, arguments)]  # fmt: skip

    @property
    def environment(self):
        home = {"HOME": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        return {**self.engine.environment, **home, **self.variables}

    def kfdet(self, *arguments, check=True):
        done = subprocess.run(
            self.command(*arguments), cwd=self.folder, env=self.environment,
            capture_output=True, text=True, timeout=900,
        )  # fmt: skip
        if check and done.returncode:
            log = self.folder / "out" / "logs" / "pipeline.log"
            tail = log.read_text()[-4000:] if log.exists() else ""
            raise AssertionError(
                f"kfdet {arguments} ended with {done.returncode}:\n{done.stderr}\n{tail}"
            )
        return done
