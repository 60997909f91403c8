"""The reference application: actors that run. A clone's own actors live here too."""
