"""The one error that is shown to a person without a traceback."""


class UserError(Exception):
    """Something the user can mend. The message says what is wrong, where, and how to mend it."""
