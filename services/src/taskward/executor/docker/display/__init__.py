"""The X displays of a container, for people: x11vnc inside of it, its bytes to the gateway, noVNC in the browser.

::

    X server ◀── x11vnc ──▶ socat ──▶ docker exec ──▶ bridge ──▶ gateway ──▶ browser
    └────── the container, confined as it is ────┘    └─ copy bytes, read none ─┘

An image needs nothing but its X server, and a `sh`: the programs are this host's, copied together with their libraries
and their loader (`tools.py`) and seen in the container read-only. What they get to read, from a hostile X server or
from the browser, they read with the container's rights; no path in the container is ever opened from outside.
"""
