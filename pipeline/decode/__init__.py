"""Wire bytes to columnar batches: pure functions, one file per format.

The only error that leaves this room is ``DecodeError``. A decoder takes many messages at once and
answers with one batch per table and the list of what it could not accept.
"""
