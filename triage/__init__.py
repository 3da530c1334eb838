"""ich-triage: a DICOM daemon that puts suspected intracranial haemorrhage first in the reading list.

It prioritises and notifies. It never diagnoses and never alters an image.
"""

__version__ = "0.1.0"
