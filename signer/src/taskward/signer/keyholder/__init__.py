"""The keyholder: holds the private keys, signs what its one caller sends, talks to nobody else.

Start it with ``python -m taskward.signer.keyholder --config FILE``. Its section of the file::

    [keyholder]
    socket = "/run/taskward/keyholder.sock"
    keys_dir = "/var/lib/taskward/keys"                # own, 0700; private
    public_keys_dir = "/var/lib/taskward/public-keys"  # own, 0755; public
    allowed_users = ["tw-signer"]                      # names or uids; an empty list refuses everybody
    socket_mode = "0660"                               # optional
    socket_group = "tw-signer"                         # optional
    openpgp_algorithm = "ed25519"                      # optional; or "rsa2048", "rsa4096"
    openpgp_expires_days = 730                         # optional; afterwards the keyholder ends, and nothing is signed
    user_id = "taskward chain of trust"                # optional; "Name" or "Name <mail@example.com>"

Private files (a missing one is made at the start; to change a key, move it away and start again):

- ``keys_dir/ed25519.key``: base64 of the 32-byte seed, the form of generic-worker's signing keys;
- ``keys_dir/dsse.key``: the same for DSSE envelopes, always another key;
- ``keys_dir/openpgp/``: a GnuPG home with exactly one secret key.

Public files, written at each start:

- ``public_keys_dir/openpgp.asc``: the armored OpenPGP public key;
- ``public_keys_dir/ed25519.pub``: base64 of the 32-byte public key of ``chain-of-trust.json.sig``;
- ``public_keys_dir/dsse.pub``: base64 of the 32-byte public key of the provenance envelope;
- ``public_keys_dir/keys.json``: all of them with ids and validity, see `keyring.Keyring.public`.
"""
