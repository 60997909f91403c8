"""Keeps actors running: a declared tree, the rules that decide, and the runner that carries them out."""

from __future__ import annotations

from callboard.supervision.child import Child, State
from callboard.supervision.runner import SupervisorRunner
from callboard.supervision.specification import ChildSpec, Restart, RestartIntensity, Strategy, Supervisor

__all__ = [
    "Child",
    "ChildSpec",
    "Restart",
    "RestartIntensity",
    "State",
    "Strategy",
    "Supervisor",
    "SupervisorRunner",
]
