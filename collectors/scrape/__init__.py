"""The scraper: targets are found, asked in their turns, and what they expose goes on the bus.

``config`` is what people write, ``jobs`` adds what the settings say; ``discovery`` and
``kubernetes`` find what they speak of, ``target`` and ``relabel`` make targets of it; ``fetch``
asks one, ``series`` remembers what it exposed, ``loop`` goes on asking it; ``pursuit`` does all
that for one job, and ``scraper`` is the receiver of all jobs.
"""
