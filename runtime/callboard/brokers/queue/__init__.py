"""Queues between a program and its transport: an outbox before publishing, an inbox before handling."""
