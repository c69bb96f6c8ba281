"""Tasks in containers: docker-worker's payloads, its engine and what only containers can have."""
