"""What a person asks of a bench's program and cannot have."""


class RequestError(ValueError):
    """Nothing was changed. code is stable, for programs; the text says what is wrong, where and what to do next."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
