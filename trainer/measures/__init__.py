"""Figures of what a net said: each with its n and a 95 % interval, none without."""
