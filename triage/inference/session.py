"""ONNX Runtime sessions: the provider is verified, the contract is checked, and the first run happens at load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from triage.domain.errors import BundleError, ProviderUnavailable, TriageError

Device = Literal["auto", "cpu", "cuda"]
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

# TF32 would move scores between machines; the heuristic search is repeatable and needs no minutes at start.
_CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
_QUIET = 3  # errors only: what matters is raised

# ONNX Runtime's errors share no base class. What CUDA throws past its statuses arrives as a plain RuntimeError.
_NO_NET: tuple[type[Exception], ...] = (
    runtime.InvalidGraph,
    runtime.InvalidProtobuf,
    runtime.NoModel,
    runtime.NoSuchFile,
)
_ERRORS: tuple[type[Exception], ...] = (
    *_NO_NET,
    runtime.EPFail,
    runtime.EngineError,
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.NotImplemented,
    runtime.RuntimeException,
    RuntimeError,
)


class Session:
    """One net on one provider, called with a batch of images."""

    def __init__(self, net: Any, name: str) -> None:
        self._net = net
        self._name = name
        self._input = str(net.get_inputs()[0].name)

    @property
    def provider(self) -> str:
        """The provider that really runs the net, for example ``CPUExecutionProvider``."""
        return str(self._net.get_providers()[0])

    def run(self, image: NDArray[np.float32], output: str) -> NDArray[np.float32]:
        """Run a batch, shape (batch, channels, size, size), and return one output, batch first.

        Raises as `run_for` does.
        """
        (answer,) = self.run_for(image, [output])
        return answer

    def run_for(self, image: NDArray[np.float32], outputs: Sequence[str]) -> tuple[NDArray[np.float32], ...]:
        """Run a batch, shape (batch, channels, size, size), once and return several outputs, batch first.

        Raises
        ------
        ProviderUnavailable
            The GPU was lost on the way; the caller may open the bundle again on the CPU.
        BundleError
            The net failed on the CPU.
        """
        try:
            answers = self._net.run(list(outputs), {self._input: image})
        except _ERRORS as exc:
            lost: type[TriageError] = BundleError if self.provider == CPU else ProviderUnavailable
            raise lost(f"{self._name} failed while running on {self.provider}: {_first_line(exc)}") from exc
        return tuple(answers)

    def gives(self, output: str) -> bool:
        """Whether the net has an output of that name."""
        return any(o.name == output for o in self._net.get_outputs())

    def verify(self, outputs: Mapping[str, tuple[int, ...]], size: int, channels: int = 3) -> None:
        """Check names and shapes against the contract by a first run, which also warms the provider up.

        Parameters
        ----------
        outputs : mapping
            Shape of each output without the batch.
        size, channels : int
            Rows and columns, and channels, of the input ``image``, float32 (batch, channels, size, size).

        Raises
        ------
        BundleError
            The net does not honour the contract.
        """
        inputs = [i.name for i in self._net.get_inputs()]
        present = {o.name for o in self._net.get_outputs()}
        if inputs != ["image"] or not set(outputs) <= present:
            raise BundleError(
                f"{self._name} must take 'image' and give {', '.join(outputs)}; "
                f"it takes {', '.join(inputs)} and gives {', '.join(sorted(present))}."
            )
        for batch in (1, 2):
            image = np.zeros((batch, channels, size, size), dtype=np.float32)
            for name, shape in outputs.items():
                answer = self.run(image, name)
                if answer.shape != (batch, *shape) or answer.dtype != np.float32:
                    raise BundleError(
                        f"{self._name} gives {name} as {answer.dtype} {answer.shape} for {batch} images; "
                        f"float32 {(batch, *shape)} was expected."
                    )


def open_session(path: Path, device: Device = "auto", threads: int = 0) -> Session:
    """Open a net on a device.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        ``auto`` takes the GPU where ONNX Runtime really loads it, else the CPU; ``Session.provider`` says which.
    threads : int
        Cores to use on the CPU; 0 takes them all.

    Raises
    ------
    ProviderUnavailable
        ``cuda`` was asked for and did not load; or the net did not open on the GPU, though it may on the CPU.
    BundleError
        The file is no ONNX net that this release can run.
    """
    offered = CUDA in onnxruntime.get_available_providers()
    if device == "cuda" and not offered:
        raise ProviderUnavailable(
            "inference.device is cuda, but this ONNX Runtime has no CUDA provider: "
            "install the gpu extra, or set inference.device to cpu."
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    options.use_deterministic_compute = True
    # Idle threads that spin would take the cores from the listener.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = [(CUDA, _CUDA_OPTIONS), (CPU, {})] if offered and device != "cpu" else [(CPU, {})]
    try:
        net = onnxruntime.InferenceSession(str(path), sess_options=options, providers=providers)
    except _ERRORS as exc:
        on_gpu = len(providers) > 1 and not isinstance(exc, _NO_NET)
        failed: type[TriageError] = ProviderUnavailable if on_gpu else BundleError
        raise failed(f"{path.name} does not load: {_first_line(exc)}") from exc
    net.disable_fallback()
    session = Session(net, path.name)
    if device == "cuda" and session.provider != CUDA:
        raise ProviderUnavailable(
            f"inference.device is cuda, but ONNX Runtime fell back to {session.provider}: "
            "its CUDA and cuDNN versions must match this machine's; or set inference.device to cpu."
        )
    return session


def _first_line(exc: Exception) -> str:
    return (str(exc).splitlines() or ["no reason given"])[0]
