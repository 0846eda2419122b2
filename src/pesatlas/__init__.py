"""PES Atlas: campaigns that map the potential energy surface of materials."""

from importlib.metadata import version

__version__ = version("pesatlas")
