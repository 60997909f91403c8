"""Where the program `nats-server` is."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

from callboard.errors import MissingExtraError

__all__ = ["find_binary"]


def find_binary() -> Path:
    """`nats-server` among the scripts of this Python, then of the user, then on PATH.

    Raises `MissingExtraError` when none of them has it.
    """
    user_scripts = sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user"))
    places = [sysconfig.get_path("scripts"), user_scripts, os.environ.get("PATH", os.defpath)]
    found = shutil.which("nats-server", path=os.pathsep.join(places))
    if found is None:
        raise MissingExtraError("the embedded server", "embedded")
    return Path(found)
