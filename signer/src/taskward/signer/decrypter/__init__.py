"""The decrypter: opens the encrypted environment variables of runs that this worker holds, and nothing else.

::

    executor --frames--> decrypter --HTTPS (read only)--> Taskcluster: queue

It is apart from signer and keyholder: who takes over the signer can decrypt nothing, and what task authors encrypt is
never parsed beside a signing key. Its caller names a run; the messages come from the queue's definition of the task.
A process of its own opens each run's messages, gives up the network before gpg sees them, and ends.

Start it with ``python -m taskward.signer.decrypter --config FILE``. Its section of the file::

    [decrypter]
    socket = "/run/taskward/decrypter.sock"
    keys_dir = "/var/lib/taskward/decrypter"                 # own, 0700; private
    public_keys_dir = "/var/lib/taskward/public-encryption"  # own, 0755; public
    allowed_users = ["root"]             # names or uids; an empty list refuses everybody
    openpgp_algorithm = "cv25519"        # optional; or "rsa2048", "rsa4096"
    client_id = "project/x/decrypter"    # optional; for clusters without anonymous reading
    access_token_file = "/etc/..."       # with client_id

``socket_mode``, ``socket_group`` and ``openpgp_expires_days`` are those of the keyholder.

Files:

- ``keys_dir/openpgp/``: a GnuPG home with exactly one secret key, made at the first start; to use another key, move it
  away and start again, or make the home yourself (``gpg --homedir … --import key.asc``);
- ``keys_dir/audit.jsonl``: what was asked and how it ended, without any value; see `taskward.signer.audit`;
- ``public_keys_dir/encryption.asc``: the armored public key, for task authors; written at each start.

Other packages import `taskward.signer.decrypter.client` and nothing else from here.
"""
