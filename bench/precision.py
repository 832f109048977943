"""Images a second of one core, by backend and precision: the demonstration's network, and others where they are named.

Everything runs in one process with one thread, in batches of eight and of one, the backends in turns; what counts is
the processor's time, so that what else the machine does falls on none of them alone. INT8 is made here, with ranges of
the golden parts: speed does not hang on them. A bundle that is named is taken with the INT8 network that it holds.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.export import quantised
from vision.backends.onnx import OnnxBackend
from vision.backends.openvino import OpenvinoBackend
from vision.backends.torch import torch_cpu
from vision.bundle import Bundle, load_bundle
from vision.cache import graph_bytes
from vision.classifier import Backend
from vision.cpu import has_bf16

DEMO = Path(__file__).parents[1] / "models" / "bsdata"
ROUNDS = 9
BATCHES = (8, 1)
# What separate tools reached on the same kind of CPU, INT8 / fp32: ONNX Runtime's own quantiser, and NNCF for OpenVINO.
TARGETS = {"onnx": 3.42, "openvino": 3.83}
SMALLER = 4.0  # a compressed network against INT8 of the demonstration's, same runtime


def backends(bundle: Bundle) -> Iterator[tuple[str, Backend]]:
    graph = graph_bytes(bundle, None)
    whole = quantised(bundle, bundle.golden_crops()[:, 0], threads=1, quiet=True)["none"]
    yield "torch-fp32", torch_cpu(bundle, reduced=False, threads=1)
    if has_bf16():
        yield "torch-bf16", torch_cpu(bundle, reduced=True, threads=1)
    yield "onnx-fp32", OnnxBackend(graph, "cpu", 1)
    yield "onnx-int8", OnnxBackend(whole, "int8", 1)
    yield "openvino-fp32", OpenvinoBackend(graph, "fp32", 1)
    if has_bf16():
        yield "openvino-bf16", OpenvinoBackend(graph, "bf16", 1)
    yield "openvino-int8", OpenvinoBackend(whole, "int8", 1)


def measured(runs: dict[str, Backend], crops: Any, rounds: int) -> dict[str, float]:
    """Images a second of processor time, the median of `rounds` turns after one to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, backend in runs.items():
            began = time.process_time()
            backend.score(crops)
            if number:
                seconds[name].append(time.process_time() - began)
    return {name: len(crops) / statistics.median(found) for name, found in seconds.items()}


def judged(rates: dict[str, float]) -> Iterator[tuple[str, float, float]]:
    """What is compared, the ratio, and its target."""
    for runtime, target in TARGETS.items():
        whole, plain = f"{runtime}-int8", f"{runtime}-fp32"
        yield f"{whole} / {plain}", rates[whole] / rates[plain], target
    for name, rate in rates.items():
        of, _, backend = name.rpartition(" ")
        if of:
            yield f"{name} / {backend}", rate / rates[backend], SMALLER


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("small", type=Path, nargs="*", metavar="BUNDLE", help="compressed bundles, exported")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    bundle = load_bundle(DEMO)
    runs = dict(backends(bundle))
    for path in args.small:
        graph = load_bundle(path).int8()
        runs[f"{path.name} onnx-int8"] = OnnxBackend(graph, "int8", 1)
        runs[f"{path.name} openvino-int8"] = OpenvinoBackend(graph, "int8", 1)
    crops = np.concatenate(bundle.golden_crops())[: max(BATCHES)]
    rates = {batch: measured(runs, crops[:batch], args.rounds) for batch in BATCHES}
    found = list(judged(rates[max(BATCHES)]))
    if args.json:
        ratios = {name: {"ratio": ratio, "target": target} for name, ratio, target in found}
        print(json.dumps({"images_per_second": rates, "ratios": ratios}))
        return 0
    print(f"images/s of one core{'':10}" + "".join(f"{f'batch {batch}':>10}" for batch in BATCHES))
    for name in runs:
        print(f"  {name:28}" + "".join(f"{rates[batch][name]:10.1f}" for batch in BATCHES))
    for name, ratio, target in found:
        print(f"  {name}: {ratio:.2f}, target {target:g}: {'met' if ratio >= target else 'MISSED'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
