"""What is installed, without loading it."""

from __future__ import annotations

from importlib import metadata

__all__ = ["tensorflow_version"]


def tensorflow_version() -> str:
    """The version of TensorFlow, of whichever package holds it: tensorflow, tensorflow-cpu, a nightly build.

    Raises:
        PackageNotFoundError: none is installed.
    """
    package = metadata.packages_distributions().get("tensorflow", ["tensorflow"])[0]
    return metadata.version(package)
