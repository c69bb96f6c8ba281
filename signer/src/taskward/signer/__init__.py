"""The chain-of-trust signer (policy, no key) and its keyholder (keys, no policy)."""
