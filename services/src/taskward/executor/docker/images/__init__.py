"""``payload.image``: from its name to an image of the daemon, of which nobody else's can be taken or replaced.

`Images.ensure` is all that an engine needs; `Images.sweep` removes what was not used for long.

Images by name come from registries (`pull`), with the worker's logins only for tasks that have the image's scope
(`logins`). Images that tasks have made are artifacts: they are fetched with the scopes of the task that wants them,
taken apart with the rights of nobody else (`rewrite`), and loaded under a name that follows from their content.
"""
