"""Settings for Docker: one container for each instance."""

from __future__ import annotations

import shlex

from eightfold.running.forms.deployment import Deployment, wrapped
from eightfold.system import cpu_list

__all__ = ["docker"]


def docker(deployment: Deployment) -> str:
    """The commands that start the containers. Of several NUMA nodes each gets the memory of its own."""
    notes = [*deployment.package_note(), *deployment.session_note()]
    head = f"{deployment.comments(*notes)}IMAGE={deployment.name}:latest  # yours\n"
    return head + "".join(_run(deployment, number) for number in range(len(deployment.places)))


def _run(deployment: Deployment, number: int) -> str:
    cpus = deployment.places[number]
    pinned = [] if cpus is None else [f"--cpuset-cpus {cpu_list.write(cpus)}"]
    if cpus is not None and len(deployment.topology.nodes) > 1:
        pinned.append(f"--cpuset-mems {cpu_list.write(deployment.nodes(cpus))}")
    variables = [f"-e {shlex.quote(f'{name}={value}')}" for name, value in deployment.env_in_image(number).items()]
    return wrapped("docker run --detach", f"--name {deployment.name}-{number}", *pinned, *variables, '"$IMAGE"')
