"""From a delivery to a handler, and from its outcome to a settlement."""
