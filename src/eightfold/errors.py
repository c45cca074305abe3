"""The exceptions that eightfold raises on purpose.

    EightfoldError                something the user can put right; the command line exits with code 2
    ├── ModelError                the model cannot be read, or is not what it claims to be
    ├── DataError                 data that is missing, empty, or does not fit the model
    ├── RecipeError               a recipe or option that makes no sense
    ├── PlatformError             this CPU, TensorFlow build or environment cannot run 8-bit kernels
    ├── OutputError               the result cannot be written where it was asked for
    └── MissingExtraError         an optional package is needed and not installed

Every message says what is wrong, what was expected and what was received.
"""

from __future__ import annotations

__all__ = [
    "DataError",
    "EightfoldError",
    "MissingExtraError",
    "ModelError",
    "OutputError",
    "PlatformError",
    "RecipeError",
]


class EightfoldError(Exception):
    """Base of every error that eightfold raises on purpose."""


class ModelError(EightfoldError):
    """The model cannot be read, or is not what it claims to be."""


class DataError(EightfoldError):
    """Data that is missing, empty, or does not fit the model."""


class RecipeError(EightfoldError):
    """A recipe or option that makes no sense."""


class PlatformError(EightfoldError):
    """This CPU, TensorFlow build or environment cannot run 8-bit kernels."""


class OutputError(EightfoldError):
    """The result cannot be written where it was asked for."""


class MissingExtraError(EightfoldError):
    """An optional package is needed and not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed; "
            f"install it with: pip install 'eightfold[{extra}]'"
        )
