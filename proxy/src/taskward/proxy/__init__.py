"""The taskclusterProxy: lets a task call Taskcluster without ever seeing a credential.

One process serves all running tasks of a host. A request goes through the modules in this order:

==============  ==================================================================================================
`listener`      one port on all of 127/8, bound to the loopback device; each native task has its own address
`worker`        accepts, asks the kernel (`peers`) who calls, shares out threads (`fairness`)
`gate`          which run is that? by local address and uid (`store`: ``tw:peer:ADDRESS``); strangers get 403
`app`           own paths (``/bewit``, ``/credentials``) through Flask, all others on to `forward`
`routes`        from the task's URL to Taskcluster's; refuses other hosts and ways out of ``/api/``
`credentials`   the newest of the run (`store`: ``tw:creds:RUN``), ready to sign (`hawk`)
`forward`       asks Taskcluster (`upstream`, `answer`), tries again where that is safe (`patience`), streams
                the `body` of the request one way and that of the answer the other; `headers` stop where they must
==============  ==================================================================================================

``python -m taskward.proxy --config FILE`` starts it; `settings` lists what FILE may hold.
"""
