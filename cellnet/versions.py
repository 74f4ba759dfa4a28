"""Which machine and which packages a measured number rests on."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform

__all__ = ["environment"]


def environment(*packages: str) -> dict[str, str]:
    """Name the machine and the versions of packages.

    Args:
        packages: By their names on the package index; one that is not installed is left out.

    Returns:
        ``python``, ``machine``, ``system``, and a version by package.
    """
    found = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
    }
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
