"""From configuration to a running system: connection, dependencies, supervisors, worker processes."""

from callboard.system.connect import connect
from callboard.system.record import ContextFilter
from callboard.system.system import Service, System

__all__ = ["ContextFilter", "Service", "System", "connect"]
