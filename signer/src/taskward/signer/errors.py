"""What keeps signer, keyholder and decrypter from working until somebody mends it."""


class AttentionError(Exception):
    """The process cannot do its work; the text says what is wrong where, and the remedy. It exits 78."""


class SettingsError(AttentionError):
    """The configuration cannot be used; the text names the key, the file and the remedy."""


class BrokenChainError(AttentionError):
    """The audit log is not what was written; the text names file and line. Keep it as evidence, start a new one."""


class UnusableKeyError(AttentionError):
    """A key or its place on disk is not as it has to be; the text has a remedy."""
