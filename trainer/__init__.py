# Before ONNX Runtime is imported anywhere: this turns its reports to its maker off.
import triage.inference  # noqa: F401
