"""The other end of the control socket: what the commands of the command line use."""

import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from daemon.control import near
from inspection.errors import ModelRefused


def ask(state_dir: Path, wish: Mapping[str, Any], on_step: Callable[[str], None]) -> Mapping[str, Any]:
    """Send a command to the daemon of this state directory and follow it to its end.

    Raises ModelRefused where nobody listens, the daemon ends, or what was asked is refused.
    """
    try:
        with near(state_dir) as address, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as talk:
            talk.connect(address)
            talk.sendall(json.dumps(wish).encode() + b"\n")
            with talk.makefile("rb") as lines:
                for line in lines:
                    told = json.loads(line)
                    if "refused" in told:
                        raise ModelRefused(told["refused"])
                    if "done" in told:
                        done: Mapping[str, Any] = told["done"]
                        return done
                    on_step(told["step"])
    except PermissionError as error:
        raise ModelRefused(f"{state_dir}: not allowed; ask as the user that the daemon runs as, or as root") from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise ModelRefused(f"no daemon runs on {state_dir}: start it, then ask again") from error
    except OSError as error:
        raise ModelRefused(f"the daemon on {state_dir} did not answer: {error.strerror}") from error
    raise ModelRefused("the daemon ended before it had done what was asked; at its next start it says what is live")
