"""``python -m triage`` is the ``triage`` command."""

from triage.entrypoints.cli import main

main()
