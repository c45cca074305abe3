"""The process that computes shards on cores of its own: `python -m eightfold.prediction.worker`. JSON lines:

    {"do": "open", "call": {...}}                       ->  {"inputs": [...], "outputs": [...], "versions": {...}}
    {"do": "job", "file": ..., "folder": ...}           ->  {}
    {"do": "shard", "number": n, "start": .., "stop": ..}  ->  {"shard": n, "skipped": how many rows}

Shards may be sent before the one before them is answered: their rows are read ahead. A request that is refused is
answered by {"error": sentence, "kind": its class in eightfold.errors}. The end of the input ends the process at once.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from eightfold.errors import EightfoldError

__all__ = ["main"]

Requests = queue.SimpleQueue[dict[str, Any]]


def main() -> None:
    """Serves the process that started this one until that closes its end of the pipe."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the process that started this one
    # What libraries print goes to standard error: the answers have the pipe for themselves.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests: Requests = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    try:
        _serve(requests, answers)
    except EightfoldError as error:
        kind = next(one for one in type(error).__mro__ if one.__module__ == EightfoldError.__module__)
        _say(answers, {"error": str(error), "kind": kind.__name__})


def _listen(requests: Requests) -> None:
    """Hands on what is asked. Nobody needs an answer when the input has ended, and no part is ever half-written."""
    for line in sys.stdin:
        requests.put(json.loads(line))
    os._exit(0)


def _serve(requests: Requests, answers: TextIO) -> None:
    from eightfold.prediction.job import Call, Job
    from eightfold.prediction.parts import write_part
    from eightfold.prediction.predictor import Predictor
    from eightfold.prediction.shards import open_model, run_shards

    with Predictor(Call(**requests.get()["call"])) as predictor:
        specs = {name: [asdict(spec) for spec in getattr(predictor, name).values()] for name in ("inputs", "outputs")}
        _say(answers, {**specs, "versions": predictor.versions})
        request = requests.get()
        job, folder = Job.from_json(Path(request["file"]).read_text(encoding="utf-8")), Path(request["folder"])
        model = open_model(job, predictor)
        _say(answers, {})
        # A part is written before the next shard is computed; its rows are read before that.
        for shard, part in run_shards(model, _shards(requests)):
            write_part(folder, shard, part)
            _say(answers, {"shard": shard.number, "skipped": len(part.skipped)})


def _shards(requests: Requests) -> Iterator[Any]:
    from eightfold.prediction.job import Shard

    while True:
        request = requests.get()
        yield Shard(request["number"], request["start"], request["stop"])


def _say(answers: TextIO, answer: dict[str, Any]) -> None:
    print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
