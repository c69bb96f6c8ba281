"""The names of calls and parameters, as Taskcluster spells them."""


def camel_case(name: str) -> str:
    """``task_group_id`` as ``taskGroupId``."""
    return "".join(part.title() if number else part for number, part in enumerate(name.split("_")))
