"""config.yaml: what may be set, read so that every mistake is named with its line and its remedy."""

from daemon.config.environment import ENV_PREFIX
from daemon.config.reading import load, placed
from daemon.config.settings import NAME_PATTERN, Config, StationConfig, schema
from daemon.config.text import MAX_BYTES

__all__ = ["ENV_PREFIX", "MAX_BYTES", "NAME_PATTERN", "Config", "StationConfig", "load", "placed", "schema"]
