"""The library that is measured."""
