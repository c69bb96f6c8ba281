"""Servers that tasks in containers reach by a name of their own, beside Taskcluster: ``http://balrog/``.

==================  ==========================================================================================
`settings`          ``[proxy.upstreams.<name>]``: alias, where it is, who may, header rules, times
`dispatch`          which of them a request is for, by the host that it names, among those that its run has
`origin`            what such a server is told beside what the task says
`tokens`            short-lived tokens for those that want one: fetched when needed, never shown to a task
`exchange`          one bounded question of the proxy's own to a server
`readiness`         whether a server is there, for the executor, before the task begins
`devices`           the one that is not a server: devices of a test cloud, reserved and released
==================  ==========================================================================================
"""
