"""The version of the program."""

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """The installed version; ``0+unknown`` where the code runs without being installed."""
    try:
        return version("meshweir")
    except PackageNotFoundError:
        return "0+unknown"
