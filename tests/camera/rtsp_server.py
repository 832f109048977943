"""A small RTSP camera: run by the system's Python, which has GStreamer.

python3 rtsp_server.py PORT [USER PASSWORD]: prints its port (0 takes a free one), then streams gray pictures (of
WIDTH and HEIGHT in the environment) as
motion JPEG at /line until its standard input closes, and prints `teardown` for each client that says goodbye. A
picture's gray tells when it was exposed: it is one level brighter every TICK seconds of the monotonic clock, from
20 to 219 and again.
"""

import os
import sys
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

WIDTH, HEIGHT, FPS = int(os.environ.get("WIDTH", "320")), int(os.environ.get("HEIGHT", "240")), 25
# OpenCV times out on jpegenc's default format, which is not 4:2:0.
PIPELINE = (
    f"( appsrc name=sensor is-live=true do-timestamp=true format=time caps=video/x-raw,format=I420,width={WIDTH},"
    f"height={HEIGHT},framerate={FPS}/1 ! jpegenc quality=95 ! rtpjpegpay name=pay0 pt=26 )"
)
TICK = 0.02


def expose(sensor: Gst.Element) -> bool:
    level = 20 + int(time.monotonic() / TICK) % 200
    pixels = bytes([level]) * (WIDTH * HEIGHT) + bytes([128]) * (WIDTH * HEIGHT // 2)
    sensor.emit("push-buffer", Gst.Buffer.new_wrapped(pixels))  # refused until the pipeline runs
    return True


def configure(_: GstRtspServer.RTSPMediaFactory, media: GstRtspServer.RTSPMedia) -> None:
    timer = GLib.timeout_add(1000 // FPS, expose, media.get_element().get_by_name("sensor"))
    media.connect("unprepared", lambda _: GLib.source_remove(timer))


def connected(_: GstRtspServer.RTSPServer, client: GstRtspServer.RTSPClient) -> None:
    client.connect("teardown-request", lambda *_: print("teardown", flush=True))  # noqa: T201


def main() -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    server.connect("client-connected", connected)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(PIPELINE)
    factory.set_shared(True)
    factory.connect("media-configure", configure)
    if len(sys.argv) == 4:
        user, password = sys.argv[2:]
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("viewer", "media.factory.access", True)
        permissions.add_permission_for_role("viewer", "media.factory.construct", True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/line", factory)
    loop = GLib.MainLoop()
    if not server.attach(None):
        sys.exit(f"port {sys.argv[1]} is taken")
    GLib.io_add_watch(GLib.IOChannel(0), GLib.IO_HUP, lambda *_: loop.quit())
    print(server.get_bound_port(), flush=True)  # noqa: T201 - the port is what the caller waits for
    loop.run()


main()
