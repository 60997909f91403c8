"""The same work on nats-py alone: what a person would write who needs this and nothing else."""
