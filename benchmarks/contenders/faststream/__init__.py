"""The same work with FastStream 0.7.8, by its own documentation."""
