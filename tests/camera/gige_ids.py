"""Prints the id and the status (0 is whole) of what a GigE Vision camera sends, a line for each picture.

python3 gige_ids.py CAMERA COUNT RATE_HZ
Through the Aravis library of Debian's aravis-tools; Debian has no GenTL producer of it.
"""

import ctypes
import sys
from ctypes import POINTER, c_char_p, c_double, c_int, c_size_t, c_uint, c_uint64, c_void_p

NO_PACKET_SOCKET = 1
SIDE = 64
PATIENCE_US = 5_000_000
FIND_TRIES = 10  # about a second each


class GError(ctypes.Structure):
    _fields_ = (("domain", ctypes.c_uint32), ("code", c_int), ("message", c_char_p))


ARAVIS = ctypes.CDLL("libaravis-0.8.so.0")
ERROR = POINTER(GError)


def call(name: str, result: type | None, *arguments: object, checked: bool = False) -> object:
    """One function of the library; `arguments` are (type, value) in turn; `checked` ones tell their GError."""
    function = getattr(ARAVIS, name)
    function.restype = result
    types, values = list(arguments[::2]), list(arguments[1::2])
    error = ERROR()
    if checked:
        types.append(POINTER(ERROR))
        values.append(ctypes.byref(error))
    function.argtypes = types
    answer = function(*values)
    if error:
        sys.exit(f"{name}: {error.contents.message.decode()}")
    return answer


def devices() -> int:
    return int(str(call("arv_get_n_devices", c_uint)))


def main(name: str, count: int, rate_hz: float) -> None:
    for _ in range(FIND_TRIES):
        call("arv_update_device_list", None)
        if any(call("arv_get_device_id", c_char_p, c_uint, n) == name.encode() for n in range(devices())):
            break
    camera = call("arv_camera_new", c_void_p, c_char_p, name.encode(), checked=True)
    call("arv_camera_gv_set_stream_options", None, c_void_p, camera, c_int, NO_PACKET_SOCKET)
    region = [part for value in (0, 0, SIDE, SIDE) for part in (c_int, value)]
    call("arv_camera_set_region", None, c_void_p, camera, *region, checked=True)
    call("arv_camera_set_frame_rate", None, c_void_p, camera, c_double, rate_hz, checked=True)
    stream = call("arv_camera_create_stream", c_void_p, c_void_p, camera, c_void_p, None, c_void_p, None, checked=True)
    payload = call("arv_camera_get_payload", c_uint, c_void_p, camera, checked=True)
    for _ in range(50):
        buffer = call("arv_buffer_new", c_void_p, c_size_t, payload, c_void_p, None)
        call("arv_stream_push_buffer", None, c_void_p, stream, c_void_p, buffer)
    call("arv_camera_start_acquisition", None, c_void_p, camera, checked=True)
    for _ in range(count):
        buffer = call("arv_stream_timeout_pop_buffer", c_void_p, c_void_p, stream, c_uint64, PATIENCE_US)
        if not buffer:
            sys.exit(f"no picture within {PATIENCE_US} us")
        frame_id = call("arv_buffer_get_frame_id", c_uint64, c_void_p, buffer)
        print(frame_id, call("arv_buffer_get_status", c_int, c_void_p, buffer))  # noqa: T201
        call("arv_stream_push_buffer", None, c_void_p, stream, c_void_p, buffer)
    call("arv_camera_stop_acquisition", None, c_void_p, camera, checked=True)


main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
