"""Names that stand for subjects of a restricted cohort in all that is written.

A pseudonym is a keyed hash (HMAC-SHA-256) of the identifier: without the key nobody can try all identifiers in turn, as
one could with a plain hash of seven digits. The key is made once, in a file that only its owner may read, in `build/`
or where the environment variable MMCL_KEY says; who has it and the identifiers can tell who is who, and nobody else.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import tempfile
from pathlib import Path

from mmcl.data.manifest import Manifest
from mmcl.paths import build_root

_KEY_BYTES = 32
_DIGITS = 16
"""Hexadecimal; among a million subjects two share a pseudonym with a chance of 3 in 10^8."""


class Pseudonyms:
    """Names for the subjects of one cohort, and the way back for those that were named.

    For a cohort that is not restricted a name is the identifier itself, and no key is made.
    """

    def __init__(self, manifest: Manifest):
        self._cohort = manifest.name
        self._key = _key() if manifest.restricted else None
        self._identifiers: dict[str, str] = {}

    def name(self, identifier: str) -> str:
        """The name of a subject, the same in every run with the same key."""
        if self._key is None:
            return identifier
        digest = hmac.new(self._key, f"{self._cohort}:{identifier}".encode(), hashlib.sha256).hexdigest()
        name = f"{self._cohort}-{digest[:_DIGITS]}"
        self._identifiers[name] = identifier
        return name

    def __contains__(self, name: str) -> bool:
        return self._key is None or name in self._identifiers

    def identifier(self, name: str) -> str:
        """Who has the name; KeyError for one that was not given out."""
        return name if self._key is None else self._identifiers[name]

    def conceal(self, text: str, name: str) -> str:
        """`text` with the identifier of `name` replaced by it, wherever it stands alone."""
        return conceal(text, self.identifier(name), name)


def conceal(text: str, identifier: str, name: str) -> str:
    """`text` with `name` for `identifier`, wherever that is no part of a longer word or number."""
    if identifier == name:
        return text
    return re.sub(rf"(?<![A-Za-z0-9]){re.escape(identifier)}(?![A-Za-z0-9])", name, text)


def key_mark(manifest: Manifest) -> str:
    """Tells one key from another without telling the key; empty for a cohort that is not restricted."""
    return hashlib.sha256(b"mark:" + _key()).hexdigest()[:16] if manifest.restricted else ""


def key_file() -> Path:
    """Where the key lies."""
    return Path(os.environ.get("MMCL_KEY", build_root() / "identifiers.key"))


def _key() -> bytes:
    """The key, made now where there is none. ValueError for a file that holds something else."""
    path = key_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        handle, made = tempfile.mkstemp(dir=path.parent, prefix=".key-")
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(_KEY_BYTES) + "\n")
        try:
            # Unlike a rename, a link replaces nothing: of two processes that start at once both use one key.
            os.link(made, path)
        except FileExistsError:
            pass
        finally:
            os.unlink(made)
    text = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ValueError(f"{path}: holds no key of {_KEY_BYTES} bytes in hexadecimal; move it away to have one made")
    return key
