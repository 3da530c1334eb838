"""Values, states and rules. Standard library and numpy only: no I/O, no clock, no logging."""
