"""What the project is for, in the words that stand wherever it speaks."""

INTENDED_USE = (
    "Notification and prioritisation only. Not a diagnosis: every study still has to be read. "
    "A study without a flag is not a negative study."
)
