"""Settings for systemd: what is added to a service, or to a template of several."""

from __future__ import annotations

from eightfold.running.forms.deployment import Deployment, heredoc
from eightfold.running.launch import INSTANCE

__all__ = ["systemd"]

_UNITS = "/etc/systemd/system"


def systemd(deployment: Deployment) -> str:
    """Commands that write drop-ins for the service NAME.service, or for instances NAME@0, NAME@1, ... of a template."""
    several = len(deployment.places) > 1
    unit = f"{deployment.name}@.service" if several else f"{deployment.name}.service"
    notes = [*deployment.session_note(), f"{unit} is yours: it has the ExecStart; these files are added to it"]
    files = {unit: _environment(deployment, several)}
    for number, cpus in enumerate(deployment.places):
        own = f"{deployment.name}@{number}.service" if several else unit
        if cpus is not None:
            files[own] = files.get(own, "[Service]\n") + _affinity(deployment, cpus)
    units = [f"{deployment.name}@{number}" for number in range(len(deployment.places))] if several else [unit]
    return "".join(
        [
            deployment.comments(*notes),
            *(_written(name, content) for name, content in files.items()),
            f"sudo systemctl daemon-reload\nsudo systemctl restart {' '.join(units)}\n",
        ]
    )


def _written(unit: str, content: str) -> str:
    folder = f"{_UNITS}/{unit}.d"
    return f"sudo mkdir -p {folder}\n" + heredoc(f"{folder}/eightfold.conf", content, sudo=True)


def _environment(deployment: Deployment, several: bool) -> str:
    env = deployment.env_of(0)
    if several:
        env[INSTANCE] = "%i"
    return "[Service]\n" + "".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in env.items())


def _affinity(deployment: Deployment, cpus: tuple[int, ...]) -> str:
    """The empty assignment takes back what the unit says itself, to which the next would be added."""
    text = f"CPUAffinity=\nCPUAffinity={' '.join(map(str, cpus))}\n"
    if len(deployment.topology.nodes) > 1:
        text += f"NUMAPolicy=bind\nNUMAMask={' '.join(map(str, deployment.nodes(cpus)))}\n"
    return text


def _quoted(assignment: str) -> str:
    escaped = assignment.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if assignment.endswith("=%i") else f'"{escaped.replace("%", "%%")}"'
