"""What of each system and signal is understood, proved by payloads that go all the way.

A payload is a file in ``payloads``, named ``<system>.<signal>.<format>.<...>``; the messages of one
case are its files in the order of their names. Adding a payload is adding a file; the table in
``docs/systems.md`` is then written anew with ``--update-golden``.
"""
