"""What the five papers print: their tables as data, and where they contradict themselves."""
