"""One module per step, each a verb. A step takes the stores and the values it needs as arguments."""
