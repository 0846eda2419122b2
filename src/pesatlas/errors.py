"""The error that is shown to users without a traceback."""


class UserError(Exception):
    """An error that the user can fix. The message has the problem, its place and the remedy."""
