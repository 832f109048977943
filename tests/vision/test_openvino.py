"""OpenVINO scores each crop as it would alone, however a batch is shared out among the cores."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from vision.backends.openvino import OpenvinoBackend
from vision.bundle import load_bundle
from vision.cache import graph_bytes

ROOT = Path(__file__).parents[2]
BUNDLE = load_bundle(ROOT / "models" / "bsdata")


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_each_crop_of_a_batch_of_any_size_gets_its_own_score(threads: int) -> None:
    backend = OpenvinoBackend(graph_bytes(BUNDLE, None), "fp32", threads)
    crops = np.concatenate(BUNDLE.golden_crops())[::4]
    alone = np.concatenate([backend.score(crops[at : at + 1]) for at in range(8)])
    assert np.ptp(alone) > 0.5

    for size in range(1, 9):
        assert backend.score(crops[:size]) == pytest.approx(alone[:size], abs=1e-4)
        assert backend.score(crops[:size][::-1]) == pytest.approx(alone[:size][::-1], abs=1e-4)


def test_batches_that_overlap_get_each_their_own_scores() -> None:
    backend = OpenvinoBackend(graph_bytes(BUNDLE, None), "fp32")
    crops = np.concatenate(BUNDLE.golden_crops())[::4]
    alone = backend.score(crops)

    def score(size: int) -> bool:
        return bool(np.allclose(backend.score(crops[:size]), alone[:size], atol=1e-4))

    with ThreadPoolExecutor(backend.callers) as callers:
        assert all(callers.map(score, (8, 1, 7, 8, 2, 5, 1, 3)))


def test_a_fresh_process_may_begin_with_many_crops_at_once() -> None:
    """OpenVINO's first tensor, made by two threads, held both for ever: once in 30 starts, here in half of them."""
    script = (
        "import sys; sys.setswitchinterval(1e-6)\n"
        "import numpy as np\n"
        "from tests.vision.test_openvino import BUNDLE, OpenvinoBackend, graph_bytes\n"
        "backend = OpenvinoBackend(graph_bytes(BUNDLE, None), 'fp32', threads=8)\n"
        "backend.score(np.zeros((8, *BUNDLE.recipe.crop_shape[1:]), np.uint8))\n"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=60, check=True)


def test_openvino_is_loaded_without_its_telemetry() -> None:
    """Its sender works in a thread of its own as soon as openvino is imported."""
    script = (
        "import sys, threading, vision.backends.openvino\n"
        "loaded = [name for name, module in sys.modules.items() if module and 'openvino_telemetry' in name]\n"
        "sys.exit(str(loaded) if loaded or threading.active_count() > 1 else 0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
