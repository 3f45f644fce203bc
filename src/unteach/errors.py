"""Errors that a user can act on. The command line prints them without a traceback and ends with code 2."""

from __future__ import annotations

from collections.abc import Iterable


class UserError(Exception):
    """Something about the input or the machine is wrong; the message names it and the fix."""


class UserErrors(UserError):
    """Several problems found in one pass, so that all can be mended at once."""

    def __init__(self, title: str, problems: Iterable[str]) -> None:
        self.title = title
        self.problems = tuple(problems)
        super().__init__("\n".join([f"{title}:", *(f"  - {problem}" for problem in self.problems)]))
