"""Converts a SavedModel to OpenVINO and quantizes it with NNCF, with the defaults of both.

Runs in OpenVINO's own environment; see `converter` for its command line.
"""

from __future__ import annotations

from collections.abc import Mapping

import nncf
import openvino as ov

from eightfold.bench.peers.converter import Conversion, answer
from eightfold.bench.peers.feeds import samples
from eightfold.bench.peers.openvino_worker import specs_of
from eightfold.bench.protocol import Refusal

__all__ = ["convert"]


def convert(asked: Conversion) -> Mapping[str, str]:
    """Writes `model.xml` and `model.bin`."""
    if asked.signature != "serving_default":
        raise Refusal(f"OpenVINO reads the signature serving_default only, not {asked.signature!r}")
    model = ov.convert_model(asked.model)
    versions = {"openvino": ov.__version__}
    if asked.samples is not None:
        feeds = samples(asked.samples, specs_of(model))
        model = nncf.quantize(model, nncf.Dataset(feeds), subset_size=len(feeds))
        versions["nncf"] = nncf.__version__
    ov.save_model(model, asked.output / "model.xml", compress_to_fp16=asked.samples is not None)
    return versions


if __name__ == "__main__":
    answer(convert)
