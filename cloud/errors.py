"""The one error that people see as a sentence: what is wrong, where, what to do next."""


class RefusalError(Exception):
    """A request that cannot be carried out. The text is one sentence or a list of them; nothing was changed."""
