"""What a machine computes: that of a name, or the one at hand, measured."""

import subprocess
import time
from dataclasses import dataclass, replace

from thaw_api import FieldError, InvalidManifest

UTILIZATION = {"cpu": 0.6, "gpu": 0.35}
"""Share of what a large product of matrices reaches, or of a GPU's data sheet, that a training step does. The rest goes
into small products, norms, softmax and waiting for memory. benchmarks/cost_model.py measures that of a CPU."""
_SIDE, _SECONDS = 1024, 0.3
_GIB = 2**30


@dataclass(frozen=True)
class Device:
    """Operations a second by precision, of products of matrices."""

    name: str
    float32: float
    bfloat16: float
    memory: float
    """Bytes."""
    utilization: float

    def seconds(self, operations: float, precision: str) -> float:
        """How long so much training takes."""
        peak = self.bfloat16 if precision == "bfloat16" else self.float32
        return operations / (peak * self.utilization)


def _gpu(name: str, float32: float, bfloat16: float, gigabytes: float) -> Device:
    return Device(name, float32 * 1e12, bfloat16 * 1e12, gigabytes * 1e9, UTILIZATION["gpu"])


GPUS = {
    device.name: device
    for device in (
        _gpu("t4", 8.1, 65.0, 16),  # float16: it has no bfloat16 units
        _gpu("l4", 30.3, 121.0, 24),
        _gpu("a10", 31.2, 125.0, 24),
        _gpu("a100", 19.5, 312.0, 80),
        _gpu("h100", 67.0, 989.0, 80),
        _gpu("h200", 67.0, 989.0, 141),
    )
}
"""Dense products by NVIDIA's data sheets (SXM where there is one; float32 without TF32)."""


def find_device(name: str, teraflops: float | None, memory: float | None) -> Device:
    """A device by its name; `cpu` is this machine's, `gpu` its first GPU.

    Args:
        teraflops: what it computes, instead of what is known or measured.
        memory: its bytes, instead of what is known or free.

    Raises:
        InvalidManifest: there is none of that name.
    """
    device = _known(name.lower(), teraflops)
    if teraflops is not None:
        device = replace(device, float32=teraflops * 1e12, bfloat16=teraflops * 1e12)
    return device if memory is None else replace(device, memory=memory)


def _known(name: str, teraflops: float | None) -> Device:
    if name == "cpu":
        speed = measured_speed() if teraflops is None else 0.0
        return Device("cpu", speed, speed, _free_memory(), UTILIZATION["cpu"])
    if name == "gpu":
        return _own_gpu()
    if name not in GPUS:
        message = f"must be cpu, gpu or one of {', '.join(GPUS)}; found {name!r}"
        raise InvalidManifest([FieldError("--device", message)])
    return GPUS[name]


def measured_speed() -> float:
    """Operations a second of float32 products on all cores that this process may use: the fastest of some."""
    import numpy as np

    left, right = (np.full((_SIDE, _SIDE), 0.5, dtype=np.float32) for _ in range(2))
    np.matmul(left, right)
    fastest, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < _SECONDS:
        start = time.perf_counter()
        np.matmul(left, right)
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * _SIDE**3 / fastest


def _free_memory() -> float:
    import psutil

    return float(psutil.virtual_memory().available)


def _own_gpu() -> Device:
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        raise InvalidManifest([FieldError("--device", "gpu: nvidia-smi finds none here; name one")]) from None
    name, _, mebibytes = told.rpartition(",")
    words = name.lower().replace("-", " ").split()
    known = next((device for short, device in GPUS.items() if short in words), None)
    if known is None:
        message = f"gpu: {name} is not known here; say --device {', '.join(GPUS)} and --teraflops, --memory"
        raise InvalidManifest([FieldError("--device", message)])
    return replace(known, memory=float(mebibytes) * _GIB / 1024)
