"""From a volume in HU to a result: the only room that knows ONNX Runtime. The trainer shares its preprocessing."""
