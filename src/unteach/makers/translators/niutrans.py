"""NiuTrans' translation service, by its documented HTTP form.

Request: POST, ``application/x-www-form-urlencoded`` in UTF-8, with ``from``, ``to``, ``apikey`` and ``src_text``.
Reply: JSON with ``tgt_text``, or with ``error_code`` and ``error_msg`` (``result_code`` and ``result_msg`` in older
documents), always under HTTP status 200. Codes of errors and languages are those of its public documentation
(niutrans.com/documents, text translation) as public clients quote it; it could not be reached from here.

HTTP is by the standard library in a thread a request: the SDKs that this project depends on bring HTTP libraries, but
do not promise which.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Annotated, Any, NoReturn

from pydantic import Field, field_validator

from unteach.endpoints.contract import Again, Client, Completion, Endpoint, Message, Prompt, Refused
from unteach.endpoints.http import bad_url, explain_status, retry_after
from unteach.endpoints.keys import needed_key, without_key
from unteach.endpoints.service import Ask, Service
from unteach.errors import UserError
from unteach.languages.sentences import packed, put_together
from unteach.languages.table import find
from unteach.makers.contract import TRANSLATORS, Source, Translated, Translator
from unteach.makers.translation_checks import Checks, checked
from unteach.progress import Progress
from unteach.registry import Runtime

# Their "ti" is Tibetan, so Tigrinya has no code here; nor have Luo, Awadhi, Bhojpuri and Friulian in what is public.
_SAME = "en de fr ru jv ur ha hy es bn hi th ms vi nl uk so el pt ja it sv ar pl kam dyu kab ln"
CODES = {**{code: code for code in _SAME.split()}, "zh": "zh", "zh-Hant": "cht", "ay": "aym"}
"""NiuTrans' codes by those of the language table."""

_PASSING = {"10001": "too many requests", "13008": "it took too long"}
_NO_OTHER_WILL = {"13001": "the account has no characters left, or no access", "13002": "the key is missing or wrong"}
_LANGUAGE = "13007"
_LARGEST_REPLY = 1 << 22


class NiuTransService(Endpoint):
    """How NiuTrans is asked. Its tokens are characters sent, so ``price_in`` is the price of a million of them."""

    base_url: str = Field("https://api.niutrans.com/NiuTransServer/translation", description="The address of the API.")
    key_variable: Annotated[str, Runtime()] = Field("NIUTRANS_API_KEY", description="Environment variable of the key.")
    keyring: Annotated[str | None, Runtime()] = Field(None, description="SERVICE/USER of the key in the keyring.")
    concurrency: Annotated[int, Runtime()] = Field(4, ge=1, description="Requests at the same time.")

    @field_validator("base_url")
    @classmethod
    def _no_secrets(cls, url: str) -> str:
        if problem := bad_url(url):
            raise ValueError(problem)
        return url

    def identity(self) -> dict[str, Any]:
        return {"name": "niutrans", "base_url": self.base_url}

    @property
    def title(self) -> str:
        return f"NiuTrans at {urllib.parse.urlsplit(self.base_url).netloc}"

    def most(self, prompt: Prompt) -> tuple[int, int]:
        return len(prompt.messages[-1].text), 0

    def open(self) -> Client:
        return _Client(self, self.key())

    def key(self) -> str:
        """The key; ``UserError`` if there is none, also before any text is sent."""
        return needed_key(self.key_variable, self.keyring, self.title)


@TRANSLATORS.register("niutrans")
class NiuTrans(Translator):
    """NiuTrans' web service; needs a key. Long texts are sent in parts, cut between sentences."""

    source = "niutrans.com, text translation API"

    service: NiuTransService = NiuTransService()
    longest: int = Field(2000, ge=50, description="Characters of one request; its documents say 2000, newer ones 5000.")
    codes: dict[str, str] = Field({}, description="NiuTrans' codes of further languages, by the code here.")
    checks: Checks = Checks()

    @property
    def title(self) -> str:
        return "NiuTrans"

    def check(self, sources: Iterable[str], target: str) -> None:
        sources = list(sources)
        super().check(sources, target)
        for code in (*sources, target):
            self._code(code)
        self.service.key()

    def _code(self, language: str) -> str:
        code = find(language).code
        try:
            return {**CODES, **self.codes}[code]
        except KeyError:
            raise UserError(
                f"translator niutrans: no code of NiuTrans is known for {code!r} ({find(code).name}). If it has the "
                f"language, give its code: codes: {{{code}: ...}}"
            ) from None

    def _translate(self, texts: Sequence[Source], target: str, progress: Progress) -> list[Translated]:
        async def one(ask: Ask, source: Source) -> Translated:
            return await self._one(ask, source, target)

        with Service(self.service, progress=progress) as service:
            return list(service.map(one, texts, label=f"translating into {target}"))

    async def _one(self, ask: Ask, source: Source, target: str) -> Translated:
        parts = packed(source.text, source.language, lambda text: len(text) <= self.longest)
        pair = Message(role="system", text=f"{self._code(source.language)} {self._code(target)}")
        prompts = [Prompt(messages=(pair, Message(role="user", text=part.text))) for part in parts]
        try:
            replies = [await ask(prompt) for prompt in prompts]
        except Refused as refusal:
            return Translated(text=None, problem=str(refusal))
        if lost := [part.text[:40] for part, reply in zip(parts, replies, strict=True) if not reply.text.strip()]:
            return Translated(text=None, problem=f"nothing came back for {lost[0]!r}")
        return checked(source, target, put_together([reply.text for reply in replies], parts, target), self.checks)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST would be repeated as a GET, and the key might go elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _Client(Client):
    def __init__(self, service: NiuTransService, key: str) -> None:
        self._service, self._key = service, key
        self._opener = urllib.request.build_opener(_NoRedirects)
        self._threads = ThreadPoolExecutor(service.concurrency, thread_name_prefix="niutrans")

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def complete(self, prompt: Prompt) -> Completion:
        pair, text = (message.text for message in prompt.messages)
        source, target = pair.split()
        form = {"from": source, "to": target, "apikey": self._key, "src_text": text}
        body = await asyncio.get_running_loop().run_in_executor(self._threads, self._post, form)
        return Completion(text=self._read(body, pair), tokens_in=len(text), tokens_out=0)

    def _post(self, form: dict[str, str]) -> bytes:
        """The body of the reply. The whole must come within the time limit, or a thread could hang on a slow drip."""
        service, start = self._service, time.monotonic()
        data = urllib.parse.urlencode(form).encode("ascii")
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8", "Accept": "application/json"}
        request = urllib.request.Request(service.base_url, data, headers, method="POST")
        try:
            with self._opener.open(request, timeout=service.timeout_s) as reply:
                body = b""
                while part := reply.read1(1 << 16):
                    body += part
                    if time.monotonic() - start > service.timeout_s:
                        raise Again(f"no whole reply came within {service.timeout_s:g} s", lost=True)
                    if len(body) > _LARGEST_REPLY:
                        raise Refused(f"the reply is longer than {_LARGEST_REPLY} bytes")
                return body
        except urllib.error.HTTPError as error:
            with error:
                told = without_key(error.read(2000).decode("utf-8", "replace"), self._key)
            wait = retry_after({name.lower(): value for name, value in error.headers.items()})
            explain_status(error.code, told, wait, service.title, service.key_variable)
        except (OSError, HTTPException) as error:  # urllib.error.URLError is an OSError
            told = without_key(f"{type(error).__name__}: {error}", self._key)
            raise Again(f"the connection broke ({told})", lost=True) from None

    def _read(self, body: bytes, pair: str) -> str:
        try:
            reply = json.loads(body)
        except ValueError:
            raise Again("the reply is not JSON", lost=True) from None
        if not isinstance(reply, dict):
            raise Again("the reply is not a JSON object", lost=True)
        if isinstance(reply.get("tgt_text"), str):
            return str(reply["tgt_text"])
        code = reply.get("error_code", reply.get("result_code"))
        if code is None:
            raise Again("the reply has neither a text nor an error", lost=True)
        told = without_key(str(reply.get("error_msg", reply.get("result_msg", ""))), self._key)
        self._explain(str(code), told, pair)

    def _explain(self, code: str, told: str, pair: str) -> NoReturn:
        title = self._service.title
        if code in _PASSING:
            raise Again(f"{_PASSING[code]} ({code}: {told})")
        if code in _NO_OTHER_WILL:
            variable = self._service.key_variable
            raise UserError(f"{title}: {_NO_OTHER_WILL[code]} ({code}: {told}); the key is from {variable}.")
        if code == _LANGUAGE:
            raise UserError(f"{title}: it does not translate {' into '.join(pair.split())} ({code}: {told}).")
        raise Refused(f"the service refused the text ({code}: {told})")
