"""ImageNet weights to start from: a safetensors file, or torchvision's from the internet."""

from pathlib import Path
from urllib.error import URLError

import torch

from inspection.errors import BundleError, DataError
from vision.resnet import ResNet18, build_resnet18, load_backbone, set_backbone

TORCHVISION = "torchvision"
# torchvision's ResNet18_Weights.IMAGENET1K_V1; the name ends in the first digits of its sha256, which is checked.
_URL = "https://download.pytorch.org/models/resnet18-f37072fd.pth"


def pretrained(weights: str) -> ResNet18:
    """A ResNet18 with ImageNet's trunk from a safetensors file, or from torchvision's server.

    Raises DataError when the file is missing or is not such a one, or the server cannot be reached.
    """
    if weights == TORCHVISION:
        return _downloaded()
    path = Path(weights)
    if not path.is_file():
        raise DataError(f"weights {path}: no such file; give a safetensors file, or '{TORCHVISION}' to download")
    model = build_resnet18()
    try:
        load_backbone(model, path)
    except BundleError as error:
        raise DataError(f"weights {error}") from error
    return model


def _downloaded() -> ResNet18:
    try:
        state = torch.hub.load_state_dict_from_url(_URL, map_location="cpu", check_hash=True, weights_only=True)
    except (URLError, OSError, RuntimeError) as error:
        raise DataError(
            f"{_URL}: not to be had ({error}); without internet, leave --weights out:"
            " ImageNet weights come with linegate"
        ) from error
    model = build_resnet18()
    set_backbone(model, {name: tensor.numpy() for name, tensor in state.items()}, _URL)
    return model
