"""The part of the build that pyproject.toml cannot say: the version names the commit."""

import runpy
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent

setup(version=runpy.run_path(str(ROOT / "daemon" / "version.py"))["of_source"](ROOT))
