"""Settings for Kubernetes: a Deployment whose pods have cores of their own."""

from __future__ import annotations

import json
import math
from pathlib import Path

from eightfold.running.environment import INTRA
from eightfold.running.forms.deployment import Deployment
from eightfold.running.launch import INSTANCE

__all__ = ["kubernetes"]

_MIB = 2**20
_STEP = 256
"""MiB to which the memory is rounded."""


def kubernetes(deployment: Deployment) -> str:
    """A manifest. Whole CPUs, and limits equal to requests, put a pod into the class Guaranteed."""
    cpus = _cpus(deployment)
    notes = [
        *deployment.package_note(),
        *deployment.session_note(),
        "a pod has its CPUs for itself where the kubelet runs with --cpu-manager-policy=static"
        + (" and its option full-pcpus-only=true" if deployment.topology.threads_per_core > 1 else "")
        + ", near its memory with --topology-manager-policy=single-numa-node",
        "memory: an estimate of 1 GiB and four times the model's files",
    ]
    env = {name: value for name, value in deployment.env_in_image(0).items() if name != INSTANCE}  # pods have no number
    if deployment.settings.cores is not None:
        env.setdefault(INTRA, str(deployment.settings.cores))  # a pod sees both CPUs of a core
    variables = "".join(
        f"        - name: {name}\n          value: {json.dumps(value)}\n" for name, value in env.items()
    )
    return deployment.comments(*notes) + _MANIFEST.format(
        name=deployment.name,
        replicas=deployment.settings.instances,
        variables=variables,
        cpus=cpus,
        memory=_memory(deployment.model),
    )


def _cpus(deployment: Deployment) -> int:
    """Kubernetes counts logical CPUs."""
    cores = deployment.settings.cores or max(1, deployment.topology.usable // deployment.settings.instances)
    return cores * deployment.topology.threads_per_core


def _memory(model: Path | None) -> int:
    files = [file for file in (model, *model.rglob("*")) if file.is_file()] if model is not None else []
    needed = 1024 + 4 * sum(file.stat().st_size for file in files) / _MIB
    return _STEP * math.ceil(needed / _STEP)


_MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  replicas: {replicas}
  selector:
    matchLabels:
      app: {name}
  template:
    metadata:
      labels:
        app: {name}
    spec:
      containers:
      - name: {name}
        image: {name}:latest  # yours
        env:
{variables}\
        resources:
          requests:
            cpu: {cpus}
            memory: {memory}Mi
          limits:
            cpu: {cpus}
            memory: {memory}Mi
"""
