"""What the child processes take, read from the kernel at each scrape."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_USER, _SYSTEM, _PAGES = 11, 12, 21  # fields of /proc/PID/stat behind the name (proc(5): utime, stime, rss)

Pids = Callable[[], Mapping[str, int]]
"""The children that run now, by the name that `linegate_child_restarts_total` has for them. Called in any thread."""


class ChildProcesses(Collector):
    """CPU time and memory of each child. One that ends meanwhile is left out."""

    def __init__(self) -> None:
        self.pids: Pids = dict

    def collect(self) -> Iterator[Metric]:
        cpu = CounterMetricFamily("linegate_child_cpu_seconds", "CPU time of a child process.", labels=["child"])
        memory = GaugeMetricFamily(
            "linegate_child_resident_memory_bytes",
            "Memory of a child process, shared pictures included.",
            labels=["child"],
        )
        for child, pid in sorted(self.pids().items()):
            used = _used(pid)
            if used is not None:
                cpu.add_metric([child], used[0])
                memory.add_metric([child], used[1])
        yield from (cpu, memory)


def _used(pid: int) -> tuple[float, int] | None:
    """CPU seconds and resident bytes; None where there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name may hold spaces and brackets
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS, int(fields[_PAGES]) * _PAGE_BYTES
