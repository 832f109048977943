import os
import socket

import pytest

from camera.child import Setup, main
from camera.ring import Ring
from camera.simulated import SimulatedConfig
from inspection import spawn
from tests.camera.conftest import corner


def test_a_child_whose_station_is_gone_leaves_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    frames, crops = Ring.create(2, 1 << 20), Ring.create(2, 1 << 16)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    config = SimulatedConfig(kind="simulated")
    try:
        with theirs:
            setup = Setup("top", config, False, corner, None, os.getpid(), theirs, frames, crops)
            process = spawn.start(main, setup, name="camera top")
        process.join(60)
        assert process.exitcode == 0
    finally:
        frames.close()
        crops.close()
    assert capfd.readouterr().err == ""
