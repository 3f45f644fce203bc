"""What endpoints behind an SDK have in common: an address, a key for it, and what the SDK's failures mean."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable
from typing import Annotated, Any, ClassVar, NoReturn

from pydantic import ConfigDict, Field, JsonValue, field_validator

from unteach.endpoints.contract import Again, Client, Endpoint
from unteach.endpoints.http import bad_url
from unteach.endpoints.keys import VARIABLE, key_for, without_key
from unteach.registry import Runtime

_NEVER_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol")


class Hosted(Endpoint):
    """A model at an address. Subclasses give ``base_url`` a default: the service's own address."""

    model_config = ConfigDict(hide_input_in_errors=True)  # it may be a key in the wrong line

    own_variable: ClassVar[str]
    """The environment variable that holds the key of the service's own address."""
    own_fields: ClassVar[frozenset[str]]
    """Fields of a request that the endpoint's settings decide."""

    model: str = Field(min_length=1, description="As the server calls it.")
    base_url: str
    known_as: str | None = Field(
        None, description="Kept replies are found under this name instead of base_url, wherever the server is."
    )
    extra: dict[str, JsonValue] = Field({}, description="Further fields of the request, by the service's names.")
    key_variable: Annotated[str | None, Runtime()] = Field(
        None,
        pattern=VARIABLE,
        description="Environment variable of the key. Left out, it is the service's usual one for the service's own "
        "address and none for any other, so that a key goes nowhere it was not meant for.",
    )
    keyring: Annotated[str | None, Runtime()] = Field(None, description="SERVICE/USER of the key in the keyring.")

    @field_validator("base_url")
    @classmethod
    def _no_secrets(cls, url: str) -> str:
        if problem := bad_url(url):
            raise ValueError(problem)
        return url.rstrip("/")

    @field_validator("extra")
    @classmethod
    def _not_its_own(cls, extra: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if own := sorted(cls.own_fields & extra.keys()):
            raise ValueError(f"{', '.join(own)}: the endpoint sets these itself, by its own settings")
        return extra

    def identity(self) -> dict[str, Any]:
        found = super().identity()
        if self.known_as is not None:
            del found["base_url"]
        return found

    @property
    def title(self) -> str:
        return f"{self.model} at {self.known_as or self.base_url}"

    @property
    def variable(self) -> str | None:
        """The environment variable that may hold this address's key."""
        own = self.base_url == type(self).model_fields["base_url"].default
        return self.key_variable or (self.own_variable if own else None)

    def key(self) -> str | None:
        """The key of this address; a ``UserError`` if one is wanted and missing."""
        return key_for(self.variable, self.keyring, self.title)

    def check(self) -> None:
        super().check()
        if not self.is_offline:
            self.key()


class SdkClient(Client):
    """A client by a vendor's SDK (``module``); trying again is the service's work, so its own retries are off."""

    def __init__(self, endpoint: Hosted, module: Any, client: str) -> None:
        self._module, self._key = module, endpoint.key()
        self._sdk = getattr(module, client)(
            api_key=self._key or "none",  # with key and address given, the SDK does not look for its own
            base_url=endpoint.base_url,
            max_retries=0,  # claims and budgets are kept in step with every try
            timeout=module.Timeout(endpoint.timeout_s + 5, connect=min(10.0, endpoint.timeout_s)),
        )
        # Not the variables for custom headers; and on a connection that is used again, a reply sent twice would be
        # taken for the next prompt's.
        self._sdk._custom_headers = {"Connection": "close"}

    async def close(self) -> None:
        await self._sdk.close()

    async def _called(self, call: Awaitable[Any], any_error: type[Exception]) -> Any:
        """What the SDK's call gives.

        Raises:
            Again, Refused, UserError: what its failure means for the work.
        """
        try:
            return await call
        except (any_error, ValueError, RecursionError) as error:  # it reads what came as JSON, and no more
            failed = error
        # Raised here, as an exception shows the one beside which it was raised: a server may have repeated the key.
        if isinstance(failed, self._module.APIStatusError):
            self._explain(failed)
        cause = failed.__cause__ or failed
        told = without_key(f"{type(cause).__name__}: {cause}", self._key)
        raise Again(f"the connection or the reply broke ({told})", lost=type(cause).__name__ not in _NEVER_SENT)

    @abstractmethod
    def _explain(self, error: Any) -> NoReturn:
        """What an answer with an HTTP status of failure means."""


def count(usage: Any, name: str) -> int | None:
    """A number of tokens that a server claims; ``None`` if it is none."""
    number = getattr(usage, name, None)
    return number if isinstance(number, int) and 0 <= number < 2**40 else None
