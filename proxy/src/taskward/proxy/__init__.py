"""The taskclusterProxy: lets a task call Taskcluster, and other servers, without ever seeing a credential.

One process serves all running tasks of a host. A request goes through the modules in this order:

==============  ==================================================================================================
`listener`      one port on all addresses: each native task has its own in 127/8, each container network its gateway
`worker`        accepts, asks the kernel (`caller`: `peers`, `arrival`) who calls, shares out threads (`fairness`)
`gate`          which run is that? (`store`: ``tw:peer:ADDRESS``); strangers get 403
`app`           own paths (``/bewit``, ``/credentials``) through Flask, all others on to `forward`
`named`         what containers reach by another name than ``taskcluster``; `devices` is one of them
`routes`        from the task's URL to Taskcluster's; refuses other hosts and ways out of ``/api/``
`credentials`   the newest of the run (`store`: ``tw:creds:RUN``), ready to sign (`hawk`)
`forward`       asks Taskcluster, or another `origin` (`upstream`, `answer`), tries again where that is safe
                (`patience`), streams the `body` of the request one way and that of the answer the other; `headers`
                stop where they must
==============  ==================================================================================================

``python -m taskward.proxy --config FILE`` starts it; `settings` lists what FILE may hold.
"""
