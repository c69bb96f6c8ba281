"""The taskclusterProxy: lets a task call Taskcluster without ever seeing a credential."""
