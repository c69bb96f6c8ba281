"""The chain-of-trust signer (policy, no key), its keyholder (keys, no policy), and beside them the decrypter.

Processes with OS users and Unix sockets of their own::

    uploader --HTTP--> signer --frames--> keyholder
                         |
                         +--HTTPS (read only)--> Taskcluster: auth, queue

    executor --frames--> decrypter --HTTPS (read only)--> Taskcluster: queue

Other packages import `taskward.signer.client` and `taskward.signer.decrypter.client`, and nothing else from here.
"""
