"""The taskward command."""
