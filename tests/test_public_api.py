"""The names that users import, and what importing them costs."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import eightfold as ef
from eightfold import errors

STEPS = ["export", "plan", "calibrate", "lower", "quantize"]


def test_all_names_are_there_and_listed() -> None:
    assert ef.__all__ == sorted(ef.__all__)
    assert set(ef.__all__) <= set(dir(ef))
    for name in ef.__all__:
        assert getattr(ef, name) is not None
        assert getattr(ef, name).__doc__


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'eightfold' has no attribute 'quantise'"):
        _ = ef.quantise


@pytest.mark.parametrize("name", STEPS)
def test_steps_document_what_they_return_and_raise(name: str) -> None:
    step = getattr(ef, name)
    text = inspect.getdoc(step) or ""
    assert "Args:" in text
    for parameter in inspect.signature(step).parameters:
        assert parameter in text, f"{name} does not say what {parameter!r} is"
    assert all(p.annotation is not inspect.Parameter.empty for p in inspect.signature(step).parameters.values())


def test_every_error_has_one_root_and_is_drawn_in_the_tree() -> None:
    for name in errors.__all__:
        error = getattr(errors, name)
        assert issubclass(error, errors.EightfoldError)
        assert error is errors.EightfoldError or f"── {name}" in (errors.__doc__ or "")


def test_an_extra_that_is_missing_says_how_to_get_it() -> None:
    error = errors.MissingExtraError("netron", "view", "showing a graph")
    assert str(error) == (
        "showing a graph needs the package 'netron', which is not installed; "
        "install it with: pip install 'eightfold[view]'"
    )


LAZY = """
import sys
sys.path.insert(0, sys.argv[1])
import eightfold as ef
recipe, error = ef.Recipe(), ef.__version__
heavy = {"tensorflow", "keras", "tf_keras", "PIL", "sklearn"} & set(sys.modules)
assert not heavy, heavy
"""


def test_importing_it_does_not_import_tensorflow() -> None:
    place = str(Path(ef.__file__).parents[1])
    finished = subprocess.run([sys.executable, "-c", LAZY, place], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
