"""Settings for TensorFlow Serving: one model server for each instance."""

from __future__ import annotations

import shlex

from eightfold.errors import RecipeError
from eightfold.running.environment import INTER, INTRA
from eightfold.running.forms.deployment import Deployment, assigned, heredoc, together, wrapped
from eightfold.running.launch import INSTANCE, INSTANCES, MODE
from eightfold.running.settings import Runtime
from eightfold.system import cpu_list

__all__ = ["serving", "session_config"]

_FIRST_PORT = 8500
_NOT_READ = (MODE, INSTANCE, INSTANCES)
"""Variables that are for programs with eightfold in them."""


def serving(deployment: Deployment) -> str:
    """Commands that start the servers, each with ports of its own: put a load balancer before them.

    Flags and files as of TensorFlow Serving 2.8 and newer.

    Raises:
        RecipeError: the model is no SavedModel.
    """
    model = deployment.model
    if model is not None and not model.is_dir():
        raise RecipeError(f"TensorFlow Serving takes SavedModels, and {model} is a frozen graph")
    base = f"/models/{deployment.name}"
    copy = shlex.join(["cp", "-r", str(model or "MODEL"), f"{base}/1"])
    parts = [deployment.comments(f"Serving wants a folder for each version: mkdir -p {base} && {copy}")]
    files = {}
    config = session_config(deployment.settings)
    if config:
        files["--tensorflow_session_config_file"] = _file(parts, deployment, "session", config)
    if deployment.settings.batch_size > 1:
        files["--batching_parameters_file"] = _file(parts, deployment, "batching", _batching(deployment))
    servers = [_server(deployment, number, base, files) for number in range(len(deployment.places))]
    return "".join([*parts, together(servers) if len(servers) > 1 else f"{servers[0]}\n"])


def session_config(settings: Runtime) -> str:
    """What of the settings is part of a session's configuration, as the text of a ConfigProto."""
    lines = []
    if settings.layout is not None:
        lines.append(f"    cpu_layout_conversion: {'NCHW_TO_NHWC' if settings.layout == 'NHWC' else 'NHWC_TO_NCHW'}\n")
    if settings.precision == "bf16":
        lines.append("    auto_mixed_precision_onednn_bfloat16: ON\n")
    return f"graph_options {{\n  rewrite_options {{\n{''.join(lines)}  }}\n}}\n" if lines else ""


def _file(parts: list[str], deployment: Deployment, kind: str, content: str) -> str:
    name = f"{deployment.name}-{kind}.pbtxt"
    parts.append(heredoc(name, content))
    return name


def _batching(deployment: Deployment) -> str:
    """A batch waits for further requests a tenth of the time that it takes; one at a time is what was tuned."""
    wait = max(1, round(deployment.chosen.tuned.measured.p50_ms * 1000 / 10))
    return (
        f"max_batch_size {{ value: {deployment.settings.batch_size} }}\n"
        f"batch_timeout_micros {{ value: {wait} }}\n"
        "num_batch_threads { value: 1 }\n"
        "max_enqueued_batches { value: 100 }\n"
    )


def _server(deployment: Deployment, number: int, base: str, files: dict[str, str]) -> str:
    cpus = deployment.places[number]
    # Zero and less count as unsaid where they are flags; what a flag says is left to it.
    said = {INTRA: "--tensorflow_intra_op_parallelism", INTER: "--tensorflow_inter_op_parallelism"}
    variables = {name: value for name, value in deployment.env_of(number).items() if name not in _NOT_READ}
    flagged = {name: flag for name, flag in said.items() if int(variables.get(name, "0")) > 0}
    env = [assigned(name, value) for name, value in variables.items() if name not in flagged]
    start = [f"env {' '.join(env)}"] if env else []
    if cpus is not None:
        start.append(f"taskset -c {cpu_list.write(cpus)}")
    flags = [f"--port={_FIRST_PORT + 2 * number}", f"--rest_api_port={_FIRST_PORT + 2 * number + 1}"]
    flags += [f"{flag}={variables[name]}" for name, flag in flagged.items()]
    if "--batching_parameters_file" in files:
        flags.append("--enable_batching=true")
    flags += [f"{flag}={name}" for flag, name in files.items()]
    named = [f"--model_name={deployment.name}", f"--model_base_path={base}"]
    return wrapped(*start, "tensorflow_model_server", *named, *flags).rstrip()
