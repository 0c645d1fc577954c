"""``python -m api`` is ``meshweir``."""

from api.cli import main

if __name__ == "__main__":
    main()
