"""What objectives are made of: logits at labels in blocks, sequence means, divergences, the look back."""

import contextlib

import pytest
import tiny
import torch
from torch import nn

from unteach.models import logprobs
from unteach.models.logprobs import LabelLogits, label_logits
from unteach.models.source import ready
from unteach.models.tuning import TUNINGS
from unteach.unlearn.contracts import sequence_nll
from unteach.unlearn.terms import divergences, logits_of, look_back, sequence_logprobs, sequence_means

IGNORE = -100
ARCHITECTURES = ["llama", "gpt2", "phi", "gemma2"]  # a head of its own, tied, with a bias, and logits that are capped


def made(architecture, seed=0):
    return ready(tiny.model(architecture, seed), tiny.tokenizer()).model


def texts(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [[tiny.BOS, *torch.randint(3, tiny.VOCABULARY, (n,), generator=generator).tolist()] for n in lengths]


def padded(rows, side="right", prompt=1):
    """A batch whose first ``prompt`` tokens of each row carry no loss, padded with a token that occurs in texts."""
    width = max(map(len, rows)) + 2

    def fill(row, value):
        gap = [value] * (width - len(row))
        return [*gap, *row] if side == "left" else [*row, *gap]

    return {
        "input_ids": torch.tensor([fill(row, 77) for row in rows]),
        "attention_mask": torch.tensor([fill([1] * len(row), 0) for row in rows]),
        "labels": torch.tensor([fill([IGNORE] * prompt + row[prompt:], IGNORE) for row in rows]),
    }


ROWS = texts([7, 3, 5])


def naive_logits(model, row, prompt=1):
    """Logits that predict each labelled token of one row alone, and the labels."""
    logits = model(input_ids=torch.tensor([row])).logits[0].float()
    return [(logits[at - 1], row[at]) for at in range(1, len(row)) if at >= prompt]


def naive_divergence(now, start):
    """KL(start || now), word by word."""
    before, after = torch.log_softmax(start, -1), torch.log_softmax(now, -1)
    return sum(before[word].exp() * (before[word] - after[word]) for word in range(len(start)))


@pytest.fixture(params=[1, 2**24], ids=["one position a block", "one block"])
def any_block(request, monkeypatch):
    monkeypatch.setitem(logprobs._BLOCK, "cpu", request.param)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("prompt", [1, 3])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_logits_at_labels_are_the_models_own(architecture, side, prompt):
    model = made(architecture)
    found = logits_of(model, padded(ROWS, side, prompt))
    expected = [pair for row in ROWS for pair in naive_logits(model, row, prompt)]
    assert found.labels.tolist() == [label for _, label in expected]
    torch.testing.assert_close(
        found.rows(slice(None)), torch.stack([logits for logits, _ in expected]), atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(found.rows(slice(2, 4)), found.rows(slice(None))[2:4])


@pytest.mark.parametrize("train_head", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_divergences_and_their_gradients_are_the_naive_ones(architecture, train_head, any_block):
    start, model = made(architecture, 0), made(architecture, 1)
    wanted = {name: p for name, p in model.named_parameters() if ".0." in name and p.dim() == 2}
    if train_head:
        wanted |= {f"head.{name}": p for name, p in model.get_output_embeddings().named_parameters()}
    for parameter in wanted.values():
        parameter.requires_grad_(True)
    batch = padded(ROWS)
    with torch.no_grad():
        before = logits_of(start, batch).lasting()
    found = divergences(logits_of(model, batch), before)
    expected = torch.stack(
        [
            naive_divergence(now, old.detach())
            for row in ROWS
            for (now, _), (old, _) in zip(naive_logits(model, row), naive_logits(start, row), strict=True)
        ]
    )
    assert expected.min() > 0.01 and found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    weights = torch.linspace(-1, 2, len(found))  # another weight on every position
    right = torch.autograd.grad((expected * weights).sum(), list(wanted.values()))
    mine = torch.autograd.grad((found * weights).sum(), list(wanted.values()))
    for name, a, b in zip(wanted, mine, right, strict=True):
        assert b.abs().max() > 1e-4, name
        torch.testing.assert_close(a, b, atol=1e-4 * float(b.abs().max()), rtol=1e-3, msg=name)


def test_the_divergence_is_from_start_to_now_and_not_the_other_way_round():
    """start = (1/2, 1/2), now = (3/4, 1/4): 1/2 log(2/3) + 1/2 log 2 = log(2 / sqrt 3); the other way 0.1308."""
    start = LabelLogits(torch.zeros(1, 2), None, torch.zeros(1, dtype=torch.long))
    now = LabelLogits(torch.tensor([[3.0, 1.0]]).log(), None, torch.zeros(1, dtype=torch.long))
    assert divergences(now, start).item() == pytest.approx(0.143841, abs=1e-6)
    assert divergences(start, now).item() == pytest.approx(0.130812, abs=1e-6)
    assert divergences(now, now).item() == 0


def test_sure_predictions_diverge_by_a_finite_number():
    """Logits 2000 apart: the start's sure word costs 2000 nats, its impossible one nothing."""
    start = LabelLogits(torch.tensor([[1000.0, -1000.0]]), None, torch.zeros(1, dtype=torch.long))
    now = LabelLogits(torch.tensor([[-1000.0, 1000.0]]), None, torch.zeros(1, dtype=torch.long))
    assert divergences(now, start).item() == 2000


def heads_inputs(model):
    """A list that grows by the shape of whatever enters the model's head."""
    seen = []
    model.get_output_embeddings().register_forward_hook(lambda module, args, output: seen.append(tuple(args[0].shape)))
    return seen


def test_no_logits_are_made_at_prompt_or_padding_positions(monkeypatch):
    """Labels: 7 + 3 + 5 less one each for a prompt of 2; blocks of 2 positions, once for each model."""
    monkeypatch.setitem(logprobs._BLOCK, "cpu", 2 * tiny.VOCABULARY)
    start, model = made("llama", 0), made("llama", 1)
    batch = padded(ROWS, prompt=2)
    for each in (start, model):
        label_logits(each, **batch)  # finds out about the head
    old, new = heads_inputs(start), heads_inputs(model)
    with torch.no_grad():
        before = logits_of(start, batch).lasting()
    now = logits_of(model, batch)
    assert old == new == []
    assert before.states.shape == now.states.shape == (12, 32)
    divergences(now, before)
    assert old == new == [(2, 32)] * 6


def test_no_labels_give_no_values_and_a_mean_of_zero():
    batch = padded(ROWS)
    batch["labels"] = torch.full_like(batch["labels"], IGNORE)
    model = made("llama")
    found = logits_of(model, batch)
    values = divergences(found, found.lasting())
    assert values.shape == (0,)
    assert sequence_means(values, batch["labels"]).tolist() == [0, 0, 0]


@pytest.mark.parametrize("head_learns", [False, True])
def test_what_lasts_does_not_change_with_the_weights_and_has_no_gradient(head_learns):
    model = made("llama")
    model.requires_grad_(True)
    model.get_output_embeddings().requires_grad_(head_learns)
    found = logits_of(model, padded(ROWS))
    assert found.states.requires_grad
    kept = found.lasting()
    before = kept.rows(slice(None)).clone()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(1)
    assert torch.equal(kept.rows(slice(None)), before)
    assert not kept.rows(slice(None)).requires_grad
    assert kept.states.shape[-1] == (tiny.VOCABULARY if head_learns else 32)  # logits only where they must be


@pytest.mark.parametrize("side", ["left", "right"])
def test_sequence_means_take_each_sequence_by_itself(side):
    """Values 1 to 3, 4 and nothing: means 2, 4 and 0. A label in the first column predicts nothing and counts not."""
    rows = [[5, IGNORE, 6, 7, 8], [5, 9, IGNORE, IGNORE, IGNORE], [5, IGNORE, IGNORE, IGNORE, IGNORE]]
    gap = [IGNORE] * 2
    labels = torch.tensor([[5, *gap, *row[1:]] if side == "left" else [*row, *gap] for row in rows])
    values = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    means = sequence_means(values, labels)
    assert means.tolist() == [2, 4, 0]
    (gradient,) = torch.autograd.grad((means * torch.tensor([3.0, 1.0, 5.0])).sum(), values)
    assert gradient.tolist() == [1, 1, 1, 1]


@torch.no_grad()
def test_sequence_means_agree_with_sequence_nll():
    model, batch = made("llama"), padded(ROWS, prompt=2)
    found = logits_of(model, batch)
    values = found.each(lambda logits, rows: -torch.log_softmax(logits, -1)[range(len(logits)), found.labels[rows]])
    torch.testing.assert_close(sequence_means(values, batch["labels"]), sequence_nll(model, batch))


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_sequence_logprobs_are_summed_or_averaged_over_labels(side):
    model, batch = made("llama"), padded(ROWS, side, prompt=2)
    summed, averaged = (sequence_logprobs(model, batch, tokens) for tokens in ("sum", "mean"))
    for at, row in enumerate(ROWS):
        values = [torch.log_softmax(logits, -1)[label] for logits, label in naive_logits(model, row, prompt=2)]
        torch.testing.assert_close(summed[at], sum(values), atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(averaged[at], sum(values) / len(values), atol=1e-4, rtol=1e-5)
    assert summed.shape == averaged.shape == (3,)


def test_blocks_take_rows_in_order_and_cover_all(monkeypatch):
    monkeypatch.setitem(logprobs._BLOCK, "cpu", 3 * 4)
    states = torch.arange(28.0).view(7, 4).requires_grad_(True)
    found = LabelLogits(states, None, torch.zeros(7, dtype=torch.long))
    seen = []

    def value(logits, rows):
        seen.append((rows.start, len(logits)))
        return (logits**2).sum(-1)

    values = found.each(value)
    assert seen == [(0, 3), (3, 3), (6, 1)]
    torch.testing.assert_close(values, (states**2).sum(-1))
    (gradient,) = torch.autograd.grad((values * torch.arange(7.0)).sum(), states)
    torch.testing.assert_close(gradient, 2 * states.detach() * torch.arange(7.0)[:, None])


def test_bfloat16_states_from_a_float32_computation_meet_a_bfloat16_head():
    head = nn.Linear(4, 9, bias=True).bfloat16().requires_grad_(False)
    states = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    found = LabelLogits(states, head, torch.zeros(5, dtype=torch.long))
    values = divergences(found, LabelLogits(torch.zeros(5, 9), None, found.labels))
    (gradient,) = torch.autograd.grad(values.sum(), states)
    assert values.dtype == gradient.dtype == torch.float32
    exact = nn.functional.linear(states, head.weight.float(), head.bias.float())
    wanted = -torch.log_softmax(exact, -1).mean(-1) - torch.log(torch.tensor(9.0))
    torch.testing.assert_close(values, wanted, atol=0.02, rtol=0)
    (right,) = torch.autograd.grad(wanted.sum(), states)
    torch.testing.assert_close(gradient, right, atol=0.02, rtol=0)


@pytest.mark.parametrize("settings", [{"name": "lora", "rank": 2}, {"name": "full"}])
def test_a_look_back_has_no_gradient_and_ends_also_after_an_exception(load, settings):
    tuning = TUNINGS.parse(settings)
    with tuning.attach(load("llama").model, 0) as model:
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.1)
        batch = padded(ROWS)
        now = sequence_nll(model, batch).detach()

        def reference():
            return tuning.reference(model)

        with look_back(reference) as start:
            assert not torch.is_grad_enabled()
            before = sequence_nll(start, batch)
            assert not before.requires_grad
        torch.testing.assert_close(before, sequence_nll(load("llama").model, batch))
        assert torch.is_grad_enabled()
        with pytest.raises(ZeroDivisionError), look_back(reference):
            raise ZeroDivisionError
        after = sequence_nll(model, batch)
        assert after.requires_grad and torch.equal(after.detach(), now)
        assert not torch.allclose(before, now)


def test_a_look_back_forgets_casts_made_for_the_start():
    """Inside autocast a weight's cast is remembered; after a look back it has to be the trained weight's again."""
    layer = nn.Linear(3, 3)
    trained = layer.weight.detach().clone()

    @contextlib.contextmanager
    def reference():
        layer.weight.copy_(torch.zeros(3, 3))
        yield layer
        layer.weight.copy_(trained)

    with torch.autocast("cpu", torch.bfloat16):
        with look_back(reference) as start:
            assert start(torch.ones(3)).sum().item() == pytest.approx(layer.bias.sum().item(), abs=0.02)
        value = layer(torch.ones(3)).sum()
    assert value.item() == pytest.approx(trained.sum().item() + layer.bias.sum().item(), abs=0.05)
    value.backward()
    assert layer.weight.grad is not None
