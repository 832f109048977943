"""TLS, client certificates, passwords and access lists, against Mosquitto."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from inspection.errors import ConfigError
from inspection.part import Trigger
from transport.link import StationLink
from transport.mqtt.config import BrokerConfig
from transport.mqtt.connection import BrokerError, Connection
from transport.tls import TlsConfig
from transport.triggers import TriggerDesk, TriggerLimits
from transport.wire import Address

if TYPE_CHECKING:
    from tests.transport.conftest import Lab, Mosquitto, StartMosquitto


def openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def authority(folder: Path, name: str) -> None:
    out = ("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-days", 2, *out)


def certificate(folder: Path, name: str, signer: str, extra: str = "") -> None:
    key, request, out = folder / f"{name}.key", folder / f"{name}.csr", folder / f"{name}.pem"
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-subj", f"/CN={name}", "-out", request)
    (folder / "ext").write_text(extra)
    signed = ("-CA", folder / f"{signer}.pem", "-CAkey", folder / f"{signer}.key", "-CAcreateserial", "-days", 2)
    openssl("x509", "-req", "-in", request, *signed, "-extfile", folder / "ext", "-out", out)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority with a server's and a client's certificate, and a foreign authority."""
    folder = tmp_path_factory.mktemp("certificates")
    authority(folder, "ca")
    authority(folder, "foreign")
    certificate(folder, "server", "ca", "subjectAltName=IP:127.0.0.1\n")
    certificate(folder, "other-host", "ca", "subjectAltName=DNS:elsewhere.example\n")
    certificate(folder, "client", "ca")
    certificate(folder, "stranger", "foreign")
    return folder


@pytest.fixture(scope="module")
def guarded(
    certificates: Path, tmp_path_factory: pytest.TempPathFactory, start_mosquitto: "StartMosquitto"
) -> Iterator["Mosquitto"]:
    """Wants a certificate and a password, and lets each user do only what the contract page grants."""
    folder = tmp_path_factory.mktemp("guarded")
    passwords, rights = folder / "passwords", folder / "acl"
    passwords.touch(0o600)
    for user in ("linegate", "plc", "nobody"):
        subprocess.run(["mosquitto_passwd", "-b", passwords, user, f"{user}-secret"], check=True, capture_output=True)
    rights.write_text(
        "user linegate\ntopic readwrite linegate/demo/line1/#\n\n"
        "user plc\ntopic write linegate/demo/line1/+/trigger\ntopic read linegate/demo/line1/+/verdict\n"
    )
    broker = start_mosquitto(
        folder,
        *("allow_anonymous false", f"password_file {passwords}", f"acl_file {rights}", "require_certificate true"),
        *(f"cafile {certificates / 'ca.pem'}", f"certfile {certificates / 'server.pem'}"),
        *(f"keyfile {certificates / 'server.key'}", "user root"),
    )
    yield broker
    broker.stop()


def settings(
    broker: "Mosquitto", certificates: Path, folder: Path, *, user: str = "linegate", **more: Any
) -> BrokerConfig:
    password = folder / f"{user}.password"
    password.write_text(f"{user}-secret\n")
    names = {"ca": "ca", "client": "client", **more}
    tls = {
        "ca": certificates / f"{names['ca']}.pem",
        "cert": certificates / f"{names['client']}.pem",
        "key": certificates / f"{names['client']}.key",
    }
    return BrokerConfig(port=broker.port, username=user, password_file=password, tls=TlsConfig(**tls))


async def opens(config: BrokerConfig) -> None:
    connection = Connection(config, "tls-test", link="test")
    try:
        await connection.open()
    finally:
        await connection.close()


async def test_a_verdict_travels_with_certificates_and_passwords(
    guarded: "Mosquitto", certificates: Path, tmp_path: Path, address: Address, lab: "Lab"
) -> None:
    ours = settings(guarded, certificates, tmp_path)
    desk = TriggerDesk(address.station, lab.session, TriggerLimits(), probe=lab.ears)

    def answer(trigger: Trigger) -> None:
        link.say(lab.verdict(trigger=trigger))

    link = StationLink(
        ours,
        address,
        session=lab.session,
        triggers=desk,
        on_trigger=answer,
        probe=lab.ears,
    )
    plc = await lab.listen(settings(guarded, certificates, tmp_path, user="plc"), address.verdict)
    async with lab.running(link):
        await lab.eventually(lambda: link.connected)
        for number in range(20):
            plc.connection.publish(address.trigger, b'{"trigger":%d}' % number)
        said = await plc.until(20, address.verdict)
    assert [one["trigger"] for one in said] == list(range(20))


@pytest.mark.parametrize("wrong", [{"ca": "foreign"}, {"client": "stranger"}])
async def test_a_certificate_of_a_foreign_authority_is_refused_on_either_side(
    guarded: "Mosquitto", certificates: Path, tmp_path: Path, *, wrong: dict[str, str]
) -> None:
    with pytest.raises(BrokerError):
        await opens(settings(guarded, certificates, tmp_path, **wrong))


async def test_a_broker_with_another_host_s_certificate_is_not_believed(
    certificates: Path, tmp_path: Path, start_mosquitto: "StartMosquitto"
) -> None:
    broker = start_mosquitto(
        tmp_path,
        *("allow_anonymous true", "user root", f"certfile {certificates / 'other-host.pem'}"),
        f"keyfile {certificates / 'other-host.key'}",
    )
    try:
        with pytest.raises(BrokerError, match="IP address mismatch"):
            await opens(BrokerConfig(port=broker.port, tls=TlsConfig(ca=certificates / "ca.pem")))
    finally:
        broker.stop()


async def test_a_wrong_password_is_refused_and_never_told(
    guarded: "Mosquitto", certificates: Path, tmp_path: Path
) -> None:
    config = settings(guarded, certificates, tmp_path)
    (tmp_path / "linegate.password").write_text("guessed-secret")
    with pytest.raises(BrokerError) as told:
        await opens(config)
    assert "secret" not in str(told.value)


async def test_a_bare_password_name_is_looked_for_among_systemd_s_credentials(
    guarded: "Mosquitto", certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(guarded, certificates, tmp_path).model_copy(update={"password_file": Path("mqtt-password")})
    (tmp_path / "mqtt-password").write_text("linegate-secret\n")
    with pytest.raises(ConfigError, match="mqtt-password"):
        await opens(config)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    await opens(config)


async def test_a_user_without_the_right_to_publish_reaches_nobody(
    guarded: "Mosquitto", certificates: Path, tmp_path: Path, address: Address, lab: "Lab"
) -> None:
    plc = await lab.listen(settings(guarded, certificates, tmp_path, user="plc"), address.verdict)
    acked: list[str] = []
    forger = Connection(
        settings(guarded, certificates, tmp_path, user="nobody"),
        "forger",
        link="test",
        on_acked=lambda _, refusal: acked.append(refusal),
    )
    await forger.open()
    forger.publish(address.verdict, b'{"verdict":"PASS"}')
    await forger.all_acked()
    await forger.close()
    assert acked == ["Not authorized"]
    ours = await lab.listen(settings(guarded, certificates, tmp_path))
    ours.connection.publish(address.verdict, b'{"verdict":"FAIL"}')
    assert await plc.until(1, address.verdict) == [{"verdict": "FAIL"}]


async def test_a_certificate_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tls"):
        Connection(BrokerConfig(tls=TlsConfig(ca=tmp_path / "missing.pem")), "x", link="test")
