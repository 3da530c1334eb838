"""Made heads: synthetic non-contrast head CT with known blood. Needs numpy, OpenCV and pydicom only."""

from trainer.phantom.batches import SliceBatch, slices
from trainer.phantom.exam import PhantomStudy, ScanGeometry, study
from trainer.phantom.writing import StudyPlan, write_studies

__all__ = ["PhantomStudy", "ScanGeometry", "SliceBatch", "StudyPlan", "slices", "study", "write_studies"]
