"""What can go wrong in a demo. Holds no logic."""


class DemoError(Exception):
    """The demo can't go on, or not everything arrived; the text says what and why, for the user."""
