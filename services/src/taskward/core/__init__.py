"""What the queue's processes agree on: tasks, phases, jobs, records, settings, errors, log."""
