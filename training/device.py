"""Where a network learns: on the CPU, or on an NVIDIA GPU where torch finds one."""

import torch

from inspection.errors import DataError
from vision.cpu import has_bf16

CPU = torch.device("cpu")


def learning_device(name: str) -> torch.device:
    """`cpu`, `cuda`, or `auto`: the GPU where there is one. Raises DataError where `cuda` is not to be had.

    On a GPU, too, float32 is float32 and the same seed gives the same weights: TF32 is off, and cuDNN takes
    algorithms that add in a fixed order.
    """
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise DataError("--device cuda: torch finds no GPU: see that driver and CUDA build of torch match, or take cpu")
    if name == "cpu" or not found:
        return CPU
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device("cuda")


def in_bf16(device: torch.device, *, wanted: bool = True) -> torch.autocast:
    """Within it networks on `device` compute in bfloat16 where that is `wanted`, and quick there."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and (device.type == "cuda" or has_bf16()))
