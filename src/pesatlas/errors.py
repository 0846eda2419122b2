"""The error that is shown to users without a traceback."""


class UserError(Exception):
    """Something the user can mend. The message says what is wrong, where, and how to mend it."""
