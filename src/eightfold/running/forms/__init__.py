"""A model's settings as other programs take them: shells, Docker, systemd, Kubernetes, TensorFlow Serving."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from eightfold.running.forms.deployment import Deployment
from eightfold.running.forms.docker import docker
from eightfold.running.forms.kubernetes import kubernetes
from eightfold.running.forms.serving import serving
from eightfold.running.forms.shell import shell
from eightfold.running.forms.systemd import systemd

__all__ = ["FORMS", "Deployment"]

FORMS: Mapping[str, Callable[[Deployment], str]] = {
    "shell": shell,
    "docker": docker,
    "systemd": systemd,
    "kubernetes": kubernetes,
    "tf-serving": serving,
}
"""Each writes text that can be pasted, its comments in front."""
