"""Every way to do a piece of a float graph in 8 bits. A new int8 op is one more value in one of these tuples."""

from __future__ import annotations

from eightfold.rewrites.affine import AFFINE
from eightfold.rewrites.convolution import CONVOLUTIONS
from eightfold.rewrites.leaky_relu import LEAKY_RELU
from eightfold.rewrites.matmul import MATMULS
from eightfold.rewrites.movement import MOVEMENT
from eightfold.rewrites.pooling import POOLING
from eightfold.rewrites.rewrite import Rewrite

__all__ = ["REWRITES"]

REWRITES: tuple[Rewrite, ...] = (*CONVOLUTIONS, *MATMULS, *POOLING, *AFFINE, LEAKY_RELU, *MOVEMENT)
