"""The console: a process of its own that watches the gate and answers what waits.

It talks to the proxy over the control socket only; a crash here must not touch the gate.
"""
