"""What a line said of a part can be computed again from what it kept."""

import json
import subprocess
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from tests.end_to_end.conftest import BUNDLE, LINEGATE, ROOT, until

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Line

RECORDS = "linegate/test/line1/press/record"


def test_the_scores_of_a_running_line_are_reproduced_from_its_archive(line: "Line") -> None:
    line.settings["records"] = {"archive": {"folder": str(line.folder / "archive"), "outcomes": "all"}}
    records: list[dict[str, Any]] = []
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: records.append(json.loads(message.payload))
    client.connect("127.0.0.1", line.broker.port)
    client.subscribe(RECORDS, 1)
    client.loop_start()
    try:
        line.start().played(8, rate=10)
        until(lambda: len(records) == 8, "every record arrives")
    finally:
        client.disconnect()
        client.loop_stop()
    until(lambda: line.metric("linegate_pictures_archived_total") == 8, "every picture is on disk")
    assert line.stop() == 0
    assert [record["seq"] for record in records] == list(range(1, 9))
    kept = line.folder / "records.jsonl"
    kept.write_text("".join(json.dumps(record) + "\n" for record in records))
    for record in (records[0], records[7]):
        done = subprocess.run(
            [*LINEGATE, "replay", record["id"], "--records", str(kept), "--bundle", str(BUNDLE), "--json"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        told = json.loads(done.stdout)
        assert told["again"] == record["score"]
        assert told["again_on"] == record["backend"] == "onnx-cpu"
