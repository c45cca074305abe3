"""A worker without a runtime: what a batch takes follows from the settings, as the model's file says, and not from a
clock. {"ms": {"intra 1": 2.0, ...}, "die": "tcmalloc", "refuse": [32], "kill": "intra 2"}"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

LOG = "STAND_IN_LOG"
"""The file that each process and each load adds a line to."""


def note(what: str) -> None:
    if LOG in os.environ:
        with Path(os.environ[LOG]).open("a", encoding="utf-8") as file:
            file.write(what + "\n")


def answer(request: dict[str, Any], loaded: dict[str, Any]) -> dict[str, Any]:
    if request["do"] == "load":
        told = json.loads(Path(request["model"], "saved_model.pb").read_text(encoding="utf-8"))
        note(f"load {request['batch_size']} on {sorted(os.sched_getaffinity(0))}")
        if told.get("die", "-") in os.environ.get("LD_PRELOAD", ""):
            print("cannot allocate memory", file=sys.stderr)
            sys.exit(3)
        if request["batch_size"] in told.get("refuse", []):
            return {"error": "input 'x' takes batches of 1"}
        intra, inter = request["intra"], request["inter"]
        if told.get("kill") == f"intra {intra}":
            os.kill(os.getpid(), signal.SIGKILL)
        ms = told["ms"].get(f"intra {intra}", 5.0) + told["ms"].get(f"inter {inter}", 0.0)
        loaded["seconds"] = ms * (0.5 + request["batch_size"] / 2) / 1e3
        return {"versions": {"stand-in": "1.0"}}
    if request["do"] == "time":
        return {"seconds": [[loaded["seconds"]] * max(request["least"], 3)]}
    if request["do"] == "used":
        return {"peak_mb": 30.0, "cpu_seconds": 0.1}
    return {"runs": 4, "seconds": loaded["seconds"]}


def main() -> None:
    note("start")
    loaded: dict[str, Any] = {}
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), loaded)), flush=True)


if __name__ == "__main__":
    main()
