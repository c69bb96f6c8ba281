"""Phones of a test cloud (Testdroid), which tasks reserve at ``http://testdroid``, one each.

=============  =============================================================================================
`wish`         what a task asks for, checked word for word
`cloud`        the cloud's own HTTP API, as far as it is needed: bounded, with its login renewed
`reservation`  from a wish to a session: find such a phone or flash one, open its ports; with patience
`sessions`     who has which phone, known beyond this process, and given back whatever happens
`app`          the routes that tasks call
=============  =============================================================================================
"""
