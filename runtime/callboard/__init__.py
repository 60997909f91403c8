"""Supervised actors on NATS JetStream."""
