"""Made heads: synthetic non-contrast head CT with known blood. Needs numpy, OpenCV and pydicom only."""
