"""Made heads: synthetic non-contrast head CT with known blood. Needs numpy, OpenCV and pydicom only."""

from trainer.phantom.batches import SliceBatch, slices

__all__ = ["SliceBatch", "slices"]
