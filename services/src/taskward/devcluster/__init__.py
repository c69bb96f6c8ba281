"""A development Taskcluster: enough of it for a worker's whole life."""
