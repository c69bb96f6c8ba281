"""The chain-of-trust signer (policy, no key) and its keyholder (keys, no policy).

Two processes, two OS users, two Unix sockets::

    uploader --HTTP--> signer --frames--> keyholder
                         |
                         +--HTTPS (read only)--> Taskcluster: auth, queue

Other packages import `taskward.signer.client` and nothing else from here.
"""
