"""What a net looked at, and where it was most wrong."""
