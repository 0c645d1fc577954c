"""Any bytes and mutated telemetry against every decoder and every door, new ones by themselves.

``test_decoders.py`` does it with Hypothesis, ``test_bombs.py`` with inputs made to blow up, and
``python -m tests.fuzz`` with Atheris, guided by coverage (``make fuzz``). All three ask the laws of
``laws.py``.
"""
