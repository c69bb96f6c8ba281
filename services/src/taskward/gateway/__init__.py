"""Serves live logs of running tasks."""
