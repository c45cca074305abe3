"""Lets TensorFlow compute a little and says how it went: `python -m eightfold.tf.probe`, for `eightfold.tf.build`.

The product is there for oneDNN to introduce itself, which it also does when TensorFlow's use of it is switched off.
The last line of standard error is `eightfold_probe` and a JSON document.
"""

from __future__ import annotations

import json
import sys

MARK = "eightfold_probe"


def main() -> None:
    """Runs one float product and, where there are kernels for them, an 8-bit convolution and product."""
    import tensorflow as tf

    from eightfold.errors import PlatformError
    from eightfold.tf.cpu import require_int8_kernels

    ones = tf.ones((32, 32))
    tf.linalg.matmul(ones, ones)
    refusal = None
    try:
        require_int8_kernels()
    except PlatformError as error:
        refusal = str(error)
    print(MARK, json.dumps({"version": tf.__version__, "refusal": refusal}), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
