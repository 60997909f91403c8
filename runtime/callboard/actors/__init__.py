"""Actors: what users write, what it declares, and what runs it."""

from callboard.actors.actor import Actor
from callboard.actors.cell import Cell
from callboard.actors.declaration import ActorDeclaration, declaration_of, is_actor

__all__ = ["Actor", "ActorDeclaration", "Cell", "declaration_of", "is_actor"]
