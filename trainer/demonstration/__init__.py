"""From made heads to the bundle that is shipped: training, limits, figures, card."""
