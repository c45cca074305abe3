"""How the user of the Python functions is told what of the settings does not act."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping

from eightfold.errors import PlatformError
from eightfold.running.settings import Runtime
from eightfold.running.variables import Stage, is_preloaded, late_variables

__all__ = ["SettingsWarning", "notify", "too_late_note"]


class SettingsWarning(UserWarning):
    """Something in a model's settings does not act here, or may not be the best."""


def notify(notes: Iterable[str], *, strict: bool = False, frames: int = 1) -> None:
    """Warns of each, or raises.

    Args:
        notes: sentences.
        strict: raise in place of warning.
        frames: how far above its caller the line is that the warnings are about.

    Raises:
        PlatformError: `strict`, and there is something to say.
    """
    for note in notes:
        if strict:
            raise PlatformError(note)
        warnings.warn(note, SettingsWarning, stacklevel=2 + frames)


def too_late_note(settings: Runtime, env: Mapping[str, str], now: Stage, model: object) -> list[str]:
    """The sentence on settings for which this process is too far gone; none where there are none.

    Args:
        settings: of which the allocator is looked at.
        env: the variables that are to be set.
        now: how far TensorFlow has come.
        model: whose settings they are.
    """
    late = [f"{name}={value}" for name, value in late_variables(env, now).items()]
    if not is_preloaded(settings.allocator):
        late.append(f"the memory allocator {settings.allocator}")
    if not late:
        return []
    return [
        f"too late in this process for {', '.join(late)}: such settings are read when a program starts or when "
        f"TensorFlow is first used; start the program with: eightfold run {model} -- ..."
    ]
