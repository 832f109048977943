"""The network on an NVIDIA GPU beside the CPU of the same machine: agreement, latency and crops a second by batch.

What is timed is what the worker does: crops in ordinary memory, up to the GPU, through the captured graph, scores back.
Both run in this process in turns; the CPU takes all cores, in float32.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inspection import clock
from vision.backends.choose import open_backend, parity
from vision.bundle import load_bundle

DEMO = Path(__file__).parents[1] / "models" / "bsdata"
BACKENDS = ("torch-cuda", "torch-cpu")
BATCHES = (1, 8, 32, 128)
WARM_UP = 5  # the first batch of a size captures its graph


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, nargs="?", default=DEMO, help="default: the demonstration's")
    parser.add_argument("--rounds", type=int, default=50, help="batches timed of each size")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("torch finds no GPU: nothing to measure", file=sys.stderr)
        return 1
    bundle = load_bundle(args.bundle)
    runs = {name: open_backend(args.bundle, choice=name) for name in BACKENDS}
    golden = np.concatenate(bundle.golden_crops())
    crops = np.tile(golden, (-(-max(BATCHES) // len(golden)), 1, 1, 1))
    told: dict[str, Any] = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "golden_parts": len(bundle.golden),
        "largest_difference": {name: parity(backend, bundle).largest for name, backend in runs.items()},
        "p50_ms": {name: {} for name in runs},
        "p99_ms": {name: {} for name in runs},
    }
    for batch in BATCHES:
        times: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(WARM_UP + args.rounds):
            for name, backend in runs.items():
                began = clock.monotonic()
                backend.score(crops[:batch])
                if turn >= WARM_UP:
                    times[name].append(1e3 * (clock.monotonic() - began))
        for name, found in times.items():
            told["p50_ms"][name][batch] = statistics.median(found)
            told["p99_ms"][name][batch] = float(np.quantile(found, 0.99))
    if args.json:
        print(json.dumps(told))
        return 0
    print(f"{told['gpu']}, torch {told['torch']}; {args.bundle}: {len(bundle.golden)} golden parts, no verdict differs")
    for name in runs:
        print(f"  {name}: largest difference of a golden part's score {told['largest_difference'][name]:.4f}")
    print(f"{'batch':>7}" + "".join(f"{name + ' p50':>18}{'p99':>10}{'crops/s':>10}" for name in runs))
    for batch in BATCHES:
        p50, p99 = ({name: told[key][name][batch] for name in runs} for key in ("p50_ms", "p99_ms"))
        print(
            f"{batch:7}"
            + "".join(f"{p50[name]:15.2f} ms{p99[name]:7.2f} ms{1e3 * batch / p50[name]:10.0f}" for name in runs)
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
