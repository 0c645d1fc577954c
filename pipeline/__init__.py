"""From wire bytes to advice, one room per stage.

    receive  ->  bus  ->  decode  ->  store  ->  analyze  ->  recommend  ->  render  ->  api
    (collectors)          (columns)   (DuckDB)   (Polars)                    (per plane)

``model`` imports nothing of ours; every stage imports ``model`` and never another stage;
``jobs`` is the only place where stages meet. ``make check`` holds the code to this.
"""
