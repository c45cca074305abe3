"""Computes each image of an 8-bit model in bands, side by side."""

from eightfold.passes.bands.split import in_bands

__all__ = ["in_bands"]
