"""The one error that people see as a sentence: what is wrong, where, what to do next."""


class RefusalError(Exception):
    """A request that cannot be carried out; nothing was changed.

    code is stable, for programs; the text is one sentence or a list of them, for people.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
