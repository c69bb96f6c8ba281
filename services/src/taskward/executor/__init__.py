"""Runs one task at a time: engines, features, workdir, collect."""
