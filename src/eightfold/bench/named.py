"""The networks of keras.applications by name, as `eightfold benchmark resnet50` asks for them.

    path = located("resnet50")  # a SavedModel in the user's cache folder, written when it is first asked for

Their weights are random: how fast a float network is does not depend on them. What does depend on them, such as the
error of quantization, needs trained weights and a model of the user's own.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from eightfold.bench.cache import cache, locked
from eightfold.errors import ModelError, PlatformError
from eightfold.quantization.placement import written_beside
from eightfold.running.process import this_eightfold
from eightfold.system.packages import tensorflow_version

__all__ = ["Architecture", "architectures", "build", "located", "main", "named", "saved", "side_of", "unknown"]

SEED = 0

SIDE = 224
SIDES = {
    **dict.fromkeys(("InceptionResNetV2", "InceptionV3", "Xception"), 299),
    "NASNetLarge": 331,
    **{f"EfficientNetB{n}": side for n, side in enumerate((224, 240, 260, 300, 380, 456, 528, 600))},
    **{f"EfficientNetV2{n}": side for n, side in zip(("B1", "B2", "B3"), (240, 260, 300), strict=True)},
    **{f"EfficientNetV2{n}": side for n, side in zip("SML", (384, 480, 480), strict=True)},
}
"""Height and width of their images where that is not `SIDE`."""

OTHER_NAMES = {"inception3": "InceptionV3", "nasnet": "NASNetMobile", "mobilenetv1": "MobileNet"}
"""What tf_cnn_benchmarks and Intel's model zoo call them, where that is more than another way to write the name."""

_EXPORTED = re.compile(r'"keras\.applications\.([A-Z]\w*)"')
_PREPROCESSING = re.compile(r'mode="(\w+)"')
_BETWEEN_WORDS = re.compile(r"[-_ ]")


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network of keras.applications.

    Attributes:
        keras: its function there, `ResNet50` for example.
        side: height and width of its images in pixels, Keras' default.
        preprocess: how pixels become its input, a name of `eightfold.data.PREPROCESSING`.
    """

    keras: str
    side: int
    preprocess: str

    @property
    def name(self) -> str:
        """The name in lower case, `resnet50` for example."""
        return self.keras.lower()


@functools.cache
def architectures() -> dict[str, Architecture]:
    """All networks of the installed Keras by their names in lower case.

    They are found in the text of its modules, where each names what it exports: importing Keras imports TensorFlow,
    which takes seconds, and a misspelt name should be told at once.

    Raises:
        PlatformError: Keras is not installed.
    """
    spec = importlib.util.find_spec("keras")
    if spec is None or not spec.submodule_search_locations:
        raise PlatformError("Keras is not installed here; it comes with TensorFlow: pip install tensorflow-cpu")
    found = {}
    for file in sorted(Path(spec.submodule_search_locations[0], "src", "applications").glob("*.py")):
        text = file.read_text(encoding="utf-8")
        mode = _PREPROCESSING.search(text)
        for keras in _EXPORTED.findall(text):
            # Without a mode, preprocessing is part of the network, which takes pixels as they are.
            found[keras.lower()] = Architecture(keras, SIDES.get(keras, SIDE), mode[1] if mode else "raw")
    return found


def named(name: str) -> Architecture | None:
    """The network of that name, or None; case, dashes, underscores and spaces do not count.

    A name that tf_cnn_benchmarks gives to another network, such as `mobilenet` to MobileNet v2, means Keras' own.
    """
    plain = _plain(name)
    return architectures().get(OTHER_NAMES.get(plain, plain).lower())


def side_of(name: str) -> int:
    """Height and width, in pixels, of the images of the network of that name; of what is none of them, 224."""
    architecture = named(name)
    return architecture.side if architecture else SIDE


def unknown(name: str) -> ModelError:
    """What to raise where a text is neither a path nor a network; it names those that are written alike."""
    near = difflib.get_close_matches(_plain(name), architectures(), n=3) or ["resnet50", "mobilenetv2"]
    return ModelError(
        f"there is no model at {name}; expected a SavedModel folder, a frozen .pb file, or a network of "
        f"keras.applications such as {' or '.join(near)}"
    )


def located(model: str) -> Path:
    """The path of a model that is given as a path, or as the name of a network, which is then `saved`.

    Raises:
        ModelError: there is no such file, folder or network; or Keras could not make the network.
        OutputError: the cache folder cannot be written to.
    """
    if Path(model).exists():
        return Path(model)
    architecture = named(model)
    if architecture is None:
        raise unknown(model)
    return saved(architecture)


def saved(architecture: Architecture, folder: Path | None = None) -> Path:
    """The network as a SavedModel with random weights, written when it is not there yet; that takes 10 to 60 s.

    It is made in a process of its own, so that neither TensorFlow nor the weights stay in this one.

    Args:
        architecture: which network.
        folder: where networks are kept, by default this user's cache. Each version of Keras and TensorFlow has its own.

    Raises:
        ModelError: Keras could not make the network.
        OutputError: the folder cannot be written to.
    """
    target = (folder or cache("models")) / _versions() / architecture.name
    if not target.exists():
        with locked(target):
            if not target.exists():  # another process may have made it meanwhile
                with written_beside(target, overwrite=True) as place:
                    _write_elsewhere(architecture, place)
    return target


def build(architecture: Architecture, *, seed: int = SEED, **options: Any) -> Any:
    """The network as a Keras model with random weights, the same in every run.

    Args:
        architecture: which network.
        seed: what the weights are drawn from, and all that is drawn after them.
        options: further arguments of its function in keras.applications.
    """
    import keras

    keras.config.set_image_data_format("channels_last")  # what a CPU computes, whatever the user's keras.json says
    keras.utils.set_random_seed(seed)
    shape = (architecture.side, architecture.side, 3)  # MobileNetV3 would leave the sides open
    return getattr(keras.applications, architecture.keras)(**{"weights": None, "input_shape": shape, **options})


def main(name: str, place: str) -> None:
    """Writes a network as a SavedModel: `python -m eightfold.bench.named NAME PLACE`."""
    architecture = named(name)
    if architecture is None:
        raise unknown(name)
    build(architecture).export(place, format="tf_saved_model", verbose=False)


def _write_elsewhere(architecture: Architecture, place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", __name__, architecture.keras, str(place)],
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2", **this_eightfold()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it wrote nothing to standard error"])[-1]
        raise ModelError(f"Keras could not make {architecture.keras} (exit code {done.returncode}): {last}")


def _plain(name: str) -> str:
    return _BETWEEN_WORDS.sub("", name).lower()


def _versions() -> str:
    """The versions that a SavedModel is made with."""
    return f"keras-{metadata.version('keras')}-tensorflow-{tensorflow_version()}"


if __name__ == "__main__":
    main(*sys.argv[1:])
