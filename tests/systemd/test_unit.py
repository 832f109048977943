"""The unit, the user and the folders, as systemd's own tools read them."""

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from daemon.cli import EX_CONFIG, EX_TEMPFAIL
from daemon.config import load
from tests.programs import need_root

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "linegate@.service"


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def run(*command: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    # The one thing that must be there for the check to pass is the program.
    program = tmp_path / "linegate"
    shutil.copy("/bin/true", program)
    unit = tmp_path / "linegate@.service"
    unit.write_text(UNIT.read_text().replace("/opt/linegate/current/bin/linegate", str(program)))
    verified = run("systemd-analyze", "verify", f"{unit}:linegate@raceway.service")
    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_exposure_is_at_most_one_and_a_half() -> None:
    judged = run("systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT))
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", judged.stdout)
    assert level, judged.stdout + judged.stderr
    assert float(level[1]) <= 1.5


def test_what_the_backends_and_cameras_need_is_not_taken_away() -> None:
    unit = settings()
    assert "MemoryDenyWriteExecute" not in unit
    assert "PrivateDevices" not in unit
    assert unit.get("ProcSubset", ["all"]) == ["all"]
    devices = {value.split()[0] for value in unit["DeviceAllow"]}
    assert devices >= {"char-video4linux", "char-nvidia*", "char-usb_device"}
    assert "AF_NETLINK" in unit["RestrictAddressFamilies"][0]
    allowed = run("systemd-analyze", "syscall-filter", "--no-pager", "@system-service").stdout
    assert "@resources" in allowed  # sched_setaffinity


def test_a_wrong_configuration_is_not_tried_again_and_all_else_is_for_ever() -> None:
    unit = settings()
    assert unit["RestartPreventExitStatus"] == [str(EX_CONFIG)]
    assert unit["Restart"] == ["always"]
    assert unit["StartLimitIntervalSec"] == ["0"]
    assert unit["Type"] == ["notify"]
    assert int(unit["WatchdogSec"][0]) > 0


def test_what_the_system_refuses_now_is_tried_again_and_the_network_is_waited_for() -> None:
    unit = settings()
    assert str(EX_TEMPFAIL) not in unit["RestartPreventExitStatus"]
    assert "SuccessExitStatus" not in unit
    assert unit["Wants"] == ["network-online.target"]
    assert {"network-online.target", "remote-fs.target"} <= set(unit["After"][0].split())


def test_the_user_and_the_folders_are_made_on_an_empty_system(tmp_path: Path) -> None:
    need_root()  # it gives folders to another user
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "group").write_text("root:x:0:\nvideo:x:44:\n")
    (tmp_path / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    users = run("systemd-sysusers", f"--root={tmp_path}", "-", text=UNIT.with_name("linegate.sysusers").read_text())
    assert users.returncode == 0, users.stderr
    assert re.search(r"^linegate:x:\d+:\d+:.*:/var/lib/linegate:\S*nologin$", _text(tmp_path, "passwd"), re.MULTILINE)
    assert re.search(r"^video:x:44:linegate$", _text(tmp_path, "group"), re.MULTILINE)
    folders = run(
        "systemd-tmpfiles", f"--root={tmp_path}", "--create", "-", text=UNIT.with_name("linegate.tmpfiles").read_text()
    )
    assert folders.returncode == 0, folders.stderr
    for folder in ("etc/linegate", "var/lib/linegate", "var/lib/linegate/models"):
        assert (tmp_path / folder).stat().st_mode & 0o777 == 0o750
    # What root makes among the bundles can be read by the service.
    assert (tmp_path / "var/lib/linegate/models").stat().st_mode & stat.S_ISGID


def test_the_example_is_a_config_whose_state_is_where_its_unit_may_write() -> None:
    config = load(ROOT / "systemd" / "example.yaml", environ={})
    assert config.state_dir == Path("/var/lib/linegate/example")
    assert settings()["StateDirectory"] == ["linegate/%i"]


def test_a_password_that_systemd_passes_as_a_credential_is_found(tmp_path: Path) -> None:
    passed = tmp_path / "credentials"
    passed.mkdir()
    (passed / "mqtt-password").write_text("secret")
    config = tmp_path / "raceway.yaml"
    example = (ROOT / "systemd" / "example.yaml").read_text()
    config.write_text(re.sub(r"# (username|password_file):", r"\1:", example))
    by_systemd = load(config, environ={"CREDENTIALS_DIRECTORY": str(passed)})
    assert by_systemd.mqtt.password_file == passed / "mqtt-password"
    by_hand = load(config, environ={})
    assert by_hand.mqtt.password_file == tmp_path / "mqtt-password"


@pytest.mark.parametrize("file", ["systemd/linegate@.service", "systemd/example.yaml"])
def test_the_places_are_those_that_make_install_rewrites(file: str) -> None:
    text = (ROOT / file).read_text()
    assert "/opt/linegate/" in text
    assert "/usr/local" not in text


def _text(root: Path, name: str) -> str:
    return (root / "etc" / name).read_text()
