"""From a volume in HU to a result: the only room that knows ONNX Runtime. The trainer shares its preprocessing."""

import os

# Since 1.29 ONNX Runtime reports names and digests of models to its maker unless this is set before it is imported.
# Nothing that a hospital runs may do that.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # noqa: TID251
