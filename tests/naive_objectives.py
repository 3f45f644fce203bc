"""Objectives written out: sequence by sequence without padding, token by token, word by word, from the full logits.

The naive versions take the start model from a second copy that nothing trains, so the reference scope is tested too.
"""

import contextlib
import math
from dataclasses import dataclass
from typing import Any

import tiny
import torch

from unteach.models.batches import Encoded, pad
from unteach.models.tuning import TUNINGS
from unteach.unlearn.contracts import Batches

IGNORE = -100
TUNING = {"full": {"name": "full"}, "lora": {"name": "lora", "rank": 4}}


def sequences(lengths, seed, context=0):
    """Texts of these lengths after the first token; the first ``context`` of them carry no loss."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for length in lengths:
        ids = (tiny.BOS, *torch.randint(3, tiny.VOCABULARY, (length,), generator=generator).tolist())
        made.append(Encoded(ids, (*[IGNORE] * (1 + context), *ids[1 + context :])))
    return made


FORGET = sequences([3, 11, 6], seed=1)
RETAIN = sequences([9, 4, 13], seed=2, context=2)
IDK = sequences([5, 2, 4], seed=3, context=1)


def batch(items, side="right", extra=0):
    """Padded on one side, with ``extra`` more columns than needed, of a token that is not the pad token."""
    made = pad(items, tiny.PAD)
    if side == "right":
        gaps = [(0, extra)] * len(items)
    else:
        width = made["labels"].shape[1]
        gaps = [(width - len(item.ids) + extra, -(width - len(item.ids))) for item in items]
    fills = {"input_ids": 77, "attention_mask": 0, "labels": IGNORE}
    return {
        name: torch.stack(
            [torch.nn.functional.pad(row, gap, value=fills[name]) for row, gap in zip(value, gaps, strict=True)]
        )
        for name, value in made.items()
    }


def batches(side="right", extra=0, rows=slice(None)):
    return Batches(*(batch(items[rows], side, extra) for items in (FORGET, RETAIN, IDK)))


@dataclass
class Trained:
    """A model in training that has moved away from its start, the scope of that start, and a copy of it."""

    model: Any
    reference: Any
    start: Any


@contextlib.contextmanager
def training(load, tuning, noise):
    chosen = TUNINGS.parse(TUNING[tuning])
    with chosen.attach(load("llama").model, 0) as model:
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(noise * torch.randn(parameter.shape, generator=generator))
        yield Trained(model, lambda: chosen.reference(model), load("llama").model)


def naive_tokens(model, item):
    """``(log-probabilities of all words [V], logits [V], label)`` for every labelled token."""
    logits = model(input_ids=torch.tensor([item.ids])).logits[0]
    return [
        (torch.log_softmax(logits[at - 1], -1), logits[at - 1], label)
        for at, label in enumerate(item.labels)
        if at > 0 and label != IGNORE
    ]


def mean(values):
    return sum(values) / len(values)


def naive_nll(model, item):
    return mean([-logp[label] for logp, _, label in naive_tokens(model, item)])


def naive_logp(model, item, tokens):
    values = [logp[label] for logp, _, label in naive_tokens(model, item)]
    return sum(values) if tokens == "sum" else mean(values)


def naive_kl(model, start, item):
    per_token = []
    for (now, _, _), (before, _, _) in zip(naive_tokens(model, item), naive_tokens(start, item), strict=True):
        per_token.append(sum(before[word].exp() * (before[word] - now[word]) for word in range(tiny.VOCABULARY)))
    return mean(per_token)


def naive_log_sigmoid(value):
    return -torch.log(1 + torch.exp(-value))


def naive_retain(model, start, settings):
    if settings.retain_weight == 0:
        return {}
    found = [naive_nll(model, x) if settings.retain == "nll" else naive_kl(model, start, x) for x in RETAIN]
    return {"retain": settings.retain_weight * mean(found)}


def naive_ratio(model, start, item, settings):
    return naive_logp(model, item, settings.tokens) - naive_logp(start, item, settings.tokens)


def naive_undial(model, start, item, settings):
    per_token = []
    for (now, _, label), (_, logits, _) in zip(naive_tokens(model, item), naive_tokens(start, item), strict=True):
        lowered = logits.clone()
        lowered[label] -= settings.beta
        wanted = torch.exp(lowered) / torch.exp(lowered).sum()
        per_token.append(-sum(wanted[word] * now[word] for word in range(tiny.VOCABULARY)))
    return mean(per_token)


def naive_states(model, item, layer):
    """What enters the part after the layer: the next layer, or the norm after the last; of the labelled tokens."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    after = [*inner.model.layers[1:], inner.model.norm][layer]
    found = []
    hook = after.register_forward_pre_hook(
        lambda module, args, kwargs: found.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
    )
    model(input_ids=torch.tensor([item.ids]))
    hook.remove()
    return [found[0][0, at] for at, label in enumerate(item.labels) if at > 0 and label != IGNORE]


def naive_rmu(model, start, settings):
    drawn = torch.rand(32, generator=torch.Generator().manual_seed(settings.seed))
    u = drawn / math.sqrt(sum(value**2 for value in drawn.tolist()))
    terms = {}
    if settings.retain_weight:
        distances = []
        for item in RETAIN:
            now, before = (naive_states(which, item, settings.layer) for which in (model, start))
            distances.append(mean([((a - b) ** 2).sum() for a, b in zip(now, before, strict=True)]))
        terms["retain"] = settings.retain_weight * mean(distances)
    missed = [
        mean([((h - settings.coefficient * u) ** 2).sum() for h in naive_states(model, item, settings.layer)])
        for item in FORGET
    ]
    return {**terms, "forget": settings.forget_weight * mean(missed)}


def naive(objective, model, start):
    """All terms of an objective."""
    s = objective
    match s.registered_name:
        case "grad_ascent":
            return {"forget": -s.weight * mean([naive_nll(model, x) for x in FORGET])}
        case "grad_diff":
            forget = -s.forget_weight * mean([naive_nll(model, x) for x in FORGET])
        case "npo":
            logs = [naive_log_sigmoid(-s.beta * naive_ratio(model, start, x, s)) for x in FORGET]
            forget = -s.forget_weight * 2 / s.beta * mean(logs)
        case "simnpo":
            logs = [naive_log_sigmoid(s.beta * naive_nll(model, x) - s.margin) for x in FORGET]
            forget = -s.forget_weight * 2 / s.beta * mean(logs)
        case "dpo_idk":
            logs = [
                naive_log_sigmoid(s.beta * (naive_ratio(model, start, chosen, s) - naive_ratio(model, start, x, s)))
                for chosen, x in zip(IDK, FORGET, strict=True)
            ]
            forget = -s.forget_weight * mean(logs)
        case "undial":
            forget = s.forget_weight * mean([naive_undial(model, start, x, s) for x in FORGET])
        case "rmu":
            return naive_rmu(model, start, s)
    return {**naive_retain(model, start, s), "forget": forget}


def gradients(model, value):
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    found = torch.autograd.grad(value, [p for _, p in named], allow_unused=True, retain_graph=True)
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(named, found, strict=True)}


def assert_same_gradients(found, expected):
    assert found.keys() == expected.keys()
    largest = max(float(value.abs().max()) for value in expected.values())
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4 * max(largest, 0.1), msg=name)


def solved(model, terms):
    """Terms with their gradients, taken before the reference is looked at again: that swaps weights in place."""
    return {name: (value.detach(), gradients(model, value)) for name, value in terms.items()}


def assert_same(found, expected):
    """Equal terms with equal gradients."""
    assert list(found) == list(expected)
    for name, (value, gradient) in expected.items():
        torch.testing.assert_close(found[name][0], value, rtol=1e-4, atol=1e-5)
        assert_same_gradients(found[name][1], gradient)
