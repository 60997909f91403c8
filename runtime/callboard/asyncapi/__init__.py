"""Actors described as an AsyncAPI 3 document, and as a page to read."""

from __future__ import annotations

from callboard.asyncapi.document import ASYNCAPI, asyncapi_document
from callboard.asyncapi.page import asyncapi_page

__all__ = ["ASYNCAPI", "asyncapi_document", "asyncapi_page"]
