"""A worker without a runtime: each run sleeps for as many milliseconds as the model's file says."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from eightfold.bench.protocol import Job, Refusal, Run, serve


def load(job: Job) -> tuple[Run, Mapping[str, str]]:
    told = Path(job.model).read_text(encoding="utf-8").strip()
    if told == "refuse":
        raise Refusal("it has no signature 'x'")
    if told == "die":
        print("the allocator is out of memory", file=sys.stderr)
        sys.exit(3)
    if told == "crash":
        raise ValueError("a bug of the worker")
    if told == "kill":
        return lambda: os.kill(os.getpid(), signal.SIGKILL), {}
    if told == "env":
        known = ("TF_NUM_INTRAOP_THREADS", "SETTING", "TAKEN", "OWN")
        return lambda: None, {name: os.environ[name] for name in known if name in os.environ}
    print("this line must not reach the suite")
    return lambda: time.sleep(float(told) / 1e3), {"stand-in": "1.0", "batch": str(job.batch_size)}


if __name__ == "__main__":
    serve(load)
