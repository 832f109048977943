"""Keys and signatures of minisign, made by the program itself."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from vision.signature import PublicKey, read_key


@dataclass(frozen=True)
class Signer:
    """A key pair."""

    folder: Path

    @property
    def public(self) -> Path:
        return self.folder / "key.pub"

    @property
    def key(self) -> PublicKey:
        return read_key(self.public)

    def make(self) -> "Signer":
        self.folder.mkdir()
        self._minisign("-G", "-W", "-p", "key.pub")
        return self

    def sign(self, file: Path, *options: str) -> Path:
        """The signature's file, beside `file` as minisign puts it."""
        self._minisign("-S", "-m", str(file), *options)
        return file.with_name(file.name + ".minisig")

    def _minisign(self, *words: str) -> None:
        subprocess.run(["minisign", *words, "-s", "key"], cwd=self.folder, check=True, capture_output=True, timeout=30)
