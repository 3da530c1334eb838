import subprocess
import sys

from trainer.cli import main


def test_the_command_line_itself_needs_no_torch() -> None:
    """``trainer phantom`` serves the demo of an installation that cannot train."""
    code = "import sys, trainer.cli; print(sorted({'torch', 'scipy', 'nibabel', 'onnxruntime'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert shown.stdout.strip() == "[]"


def test_exams_run_without_torch() -> None:
    code = "import sys, trainer.demonstration.evaluate; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert shown.stdout.strip() == "False"


def test_every_command_is_there() -> None:
    names = {"ablate", "compare", "evaluate", "export", "judge", "nets", "phantom", "prepare", "sheet", "train"}
    assert set(main.commands) == names
