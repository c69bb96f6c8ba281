"""The one error of this package."""


class BuildFailed(Exception):
    """The image cannot be built; the text is for whoever wrote the Dockerfile."""
