import json
import logging

from daemon.logs import HumanFormatter, JsonFormatter


def record(text: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "camera", "levelname": "INFO", "levelno": 20, "msg": text, "args": args})
    vars(made).update(extra)
    return made


def test_credentials_in_urls_never_reach_the_log() -> None:
    made = record("opening %s", "rtsp://admin:hunter2@10.0.0.9/stream and mqtts://u:p@host")

    for formatter in (HumanFormatter(), JsonFormatter()):
        told = formatter.format(made)
        assert "hunter2" not in told
        assert "u:p" not in told
        assert "rtsp://***@10.0.0.9/stream" in told


def test_a_message_from_outside_cannot_forge_a_line() -> None:
    made = record("trigger %s", "x\n2026-01-01 ERROR forged\x1b[2J")

    told = HumanFormatter().format(made)

    assert "\n" not in told
    assert "\x1b" not in told
    assert r"\n2026" in told
    assert len(JsonFormatter().format(made).splitlines()) == 1


def test_json_lines_carry_the_extra_fields() -> None:
    told = json.loads(JsonFormatter().format(record("verdict", station="press", seq=3)))

    assert (told["message"], told["station"], told["seq"], told["level"]) == ("verdict", "press", 3, "info")
