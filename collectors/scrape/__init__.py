"""The scraper: targets are found, asked in their turns, and what they expose goes on the bus.

``config`` is what people write, ``jobs`` adds what the settings say; ``discovery``, ``dns_records``
and ``kubernetes`` find what they speak of, ``target`` and ``relabel`` make targets of it; ``fetch``
asks one on the ``terms`` of its job, ``rewriting`` does to an exposition what ``metric_rules`` say,
``series`` remembers what there was, ``loop`` goes on asking; ``pursuit`` does all that for one job,
and ``scraper`` is the receiver of all jobs.
"""
