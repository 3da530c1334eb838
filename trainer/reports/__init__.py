"""One self-contained page and one JSON file for an experiment, or for several side by side."""
