"""Everything that is asked of a bundle before it is shown, run through the code that serves."""
