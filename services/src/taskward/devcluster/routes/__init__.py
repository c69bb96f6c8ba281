"""The HTTP side: one blueprint for each service."""
