"""A model of this project as an endpoint, in this process: for small models, and where there is no server."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import threading
from collections.abc import Sequence
from typing import Annotated, Any

import jinja2
import torch
from pydantic import Field
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, PreTrainedTokenizerBase, StoppingCriteria

from unteach.endpoints.contract import ENDPOINTS, Client, Completion, Endpoint, Message, Prompt, Refused
from unteach.models.source import MODELS, Loaded, ModelSource
from unteach.registry import Runtime, label

_ROLES = {"user": "User", "assistant": "Assistant"}
_NEXT_TURN = re.compile("|".join(f"\n{role}:" for role in _ROLES.values()))
_LONGEST = 16  # tokens: more than a turn's beginning has, where a token is a byte

_kept: dict[str, Loaded] = {}  # the model that was opened last: opening it again loads nothing
_working = threading.Lock()  # one at a time, whoever asks: two would only slow each other down


@ENDPOINTS.register("in_process")
class InProcess(Endpoint):
    """A model that answers in this process, one prompt at a time.

    Messages are put to it in its tokeniser's chat template; where it has none (a base model), as lines: the system's
    text, then ``User: ...`` and ``Assistant: ...``, and its reply ends where it begins another turn. A schema
    is not enforced. With a temperature, replies are drawn with a seed made of ``seed``, the messages and the draw, so
    the same prompt has the same reply on the same machine. A prompt that does not fit into the model is refused; a
    reply gets the room that is left.
    """

    source = "transformers.generate"

    model: Annotated[ModelSource, MODELS.annotation]
    seed: int = 0
    concurrency: Annotated[int, Runtime()] = Field(1, ge=1, le=1, description="Always one.")
    timeout_s: Annotated[float, Runtime()] = Field(
        3600, gt=0, description="For one whole reply, in seconds; a prompt that is being read is read to its end first."
    )

    @property
    def title(self) -> str:
        return f"{label(self.model)} in process"

    def for_planning(self) -> Endpoint:
        return self.model_copy(update={"model": self.model.for_planning()})

    def open(self) -> Client:
        name = json.dumps(self.model.identity(), sort_keys=True)
        with _working:
            if name not in _kept:
                _kept.clear()
                _kept[name] = _load(self.model)
            return _Client(self, _kept[name])


def _load(source: ModelSource) -> Loaded:
    """The model with no generation settings but its end tokens: many ship penalties, which would count in ours."""
    loaded = source.load()
    configured = loaded.model.generation_config.eos_token_id if loaded.model.generation_config else None
    ids = configured if isinstance(configured, list) else [configured]
    ends = sorted({token for token in [*ids, loaded.tokenizer.eos_token_id] if token is not None})
    loaded.model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        eos_token_id=ends or None, pad_token_id=int(loaded.tokenizer.pad_token_id or 0)
    )
    return loaded


class _Client(Client):
    def __init__(self, endpoint: InProcess, loaded: Loaded) -> None:
        self._endpoint, self._loaded = endpoint, loaded

    async def complete(self, prompt: Prompt) -> Completion:
        given_up = threading.Event()
        try:
            return await asyncio.to_thread(self._answer, prompt, given_up)
        finally:
            given_up.set()  # a thread cannot be cancelled; the model stops at its next token

    def _answer(self, prompt: Prompt, given_up: threading.Event) -> Completion:
        endpoint, tokenizer, model = self._endpoint, self._loaded.tokenizer, self._loaded.model
        ids = encoded(tokenizer, prompt.messages)
        room = self._loaded.context_length - len(ids)
        if room < 1:
            raise Refused(f"the prompt has {len(ids)} tokens; {self._loaded.context_length} fit into the model")
        inputs = torch.tensor([ids], device=model.device)
        seed = _seed(endpoint.seed, prompt)
        with _working, torch.no_grad():
            output = model.generate(  # type: ignore[operator]
                input_ids=inputs,
                attention_mask=torch.ones_like(inputs),
                max_new_tokens=min(endpoint.max_tokens, room),
                do_sample=False,
                logits_processor=[Sampling(endpoint.temperature, seed)] if endpoint.temperature else [],
                stopping_criteria=[_Over(tokenizer, len(ids), given_up)],
            )
        return _read(self._loaded, output[0, len(ids) :].tolist(), len(ids))


def encoded(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """The messages as token ids, ready for the model's reply.

    Raises:
        Refused: the chat template takes no such messages, also not with the system's text in the user's first turn.
    """
    if tokenizer.chat_template is None:
        return list(tokenizer(plain(messages), add_special_tokens=True)["input_ids"])
    for version in (messages, _without_system(messages)):
        turns = [{"role": message.role, "content": message.text} for message in version]
        try:
            batch: Any = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)
        except jinja2.TemplateError as error:  # many templates know no system role
            problem = error
        else:
            return list(batch["input_ids"])
    raise Refused(f"the model's chat template does not take these messages: {problem}")


def plain(messages: Sequence[Message]) -> str:
    """The messages for a model without a chat template: the system's text, then a line a turn."""
    parts = [f"{m.text}\n\n" if m.role == "system" else f"{_ROLES[m.role]}: {m.text}\n" for m in messages]
    return "".join(parts) + "Assistant:"


def _without_system(messages: Sequence[Message]) -> list[Message]:
    """The system's texts at the beginning of the first other turn."""
    system = [message.text for message in messages if message.role == "system"]
    turns = [message for message in messages if message.role != "system"]
    if system and turns:
        turns[0] = turns[0].model_copy(update={"text": "\n\n".join([*system, turns[0].text])})
    return turns


def _seed(seed: int, prompt: Prompt) -> int:
    text = json.dumps([seed, prompt.model_dump(mode="json")], sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class Sampling(LogitsProcessor):
    """Makes greedy decoding draw, from a generator of its own: other threads' random numbers are left alone.

    For Gumbel noise G, argmax(logits / T + G) is a draw from softmax(logits / T) (Gumbel 1954); G is -log of an
    exponential variable.
    """

    def __init__(self, temperature: float, seed: int) -> None:
        self._temperature = temperature
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores ``[B, V]`` whose largest is the drawn token's."""
        noise = torch.empty(scores.shape).exponential_(generator=self._generator).log_().neg_()
        return scores.float() / self._temperature + noise.to(scores.device)


class _Over(StoppingCriteria):
    """The reply is over: nobody waits for it, or the model has begun another turn's line."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, start: int, given_up: threading.Event) -> None:
        self._tokenizer, self._start, self._given_up = tokenizer, start, given_up

    def __call__(self, input_ids: Tensor, scores: object, **_: object) -> Tensor:
        over = self._given_up.is_set()
        if self._tokenizer.chat_template is None:
            last = input_ids[0, max(self._start, input_ids.shape[1] - _LONGEST) :]
            over = over or _NEXT_TURN.search(str(self._tokenizer.decode(last))) is not None
        return torch.full((input_ids.shape[0],), over, device=input_ids.device)


def _read(loaded: Loaded, ids: list[int], read: int) -> Completion:
    config = loaded.model.generation_config
    ended = config is not None and bool(ids) and ids[-1] in (config.eos_token_id or [])
    text = str(loaded.tokenizer.decode(ids, skip_special_tokens=True))
    if loaded.tokenizer.chat_template is None and (found := _NEXT_TURN.search(text)):
        text, ended = text[: found.start()], True
    return Completion(text=text.strip(), finish="stop" if ended else "length", tokens_in=read, tokens_out=len(ids))
