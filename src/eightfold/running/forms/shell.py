"""Settings for a shell: variables to export, and a function that starts a program on its cores."""

from __future__ import annotations

from eightfold.running.forms.deployment import Deployment, assigned, together
from eightfold.running.launch import INSTANCE, INSTANCES
from eightfold.system import cpu_list

__all__ = ["shell"]


def shell(deployment: Deployment) -> str:
    """Commands of a POSIX shell: `eval "$(eightfold env net/)"; run_tuned python app.py`."""
    notes = [*deployment.session_note(), "start a program with: run_tuned PROGRAM [ARGUMENT]..."]
    env = {name: v for name, v in deployment.env_of(0).items() if name not in (INSTANCE, INSTANCES)}
    exports = "".join(f"export {assigned(name, value)}\n" for name, value in env.items())
    return f"{deployment.comments(*notes)}{exports}run_tuned() {_body(deployment)}"


def _body(deployment: Deployment) -> str:
    count = len(deployment.places)
    lines = []
    for number, cpus in enumerate(deployment.places):
        pinned = "" if cpus is None else f"taskset -c {cpu_list.write(cpus)} "
        lines.append(f'{INSTANCE}={number} {INSTANCES}={count} {pinned}"$@"')
    return together(lines) if count > 1 else f"{{\n  {lines[0]}\n}}\n"
