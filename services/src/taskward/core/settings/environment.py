"""The machine, as chain of trust describes it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EnvironmentSettings:
    """[environment]: what the signer may say of this machine."""

    public_ip_address: str = ""
    private_ip_address: str = ""
    instance_id: str = ""
    instance_type: str = ""
    region: str = ""
