"""Log-probabilities at label positions against a plain log-softmax over the full logits."""

import pytest
import tiny
import torch
from torch import nn

from unteach.models.logprobs import IGNORE, headless, label_logprobs, plain_head, token_logprobs
from unteach.models.source import ready

ROTARY = ["llama", "qwen2", "gemma3"]
LENGTHS = [9, 4, 1, 6]


@pytest.fixture
def made(load):
    """A loaded model by architecture; Gemma 2 is built in place, since its attention exists in eager form only."""

    def of(architecture):
        if architecture == "gemma2":
            return ready(tiny.model("gemma2"), tiny.tokenizer()).model
        return load(architecture).model

    return of


def texts(lengths=LENGTHS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, tiny.VOCABULARY, (length,), generator=generator).tolist() for length in lengths]


def padded(rows, side="right", extra=0, pad=tiny.PAD):
    """Ids, mask and labels (every token, position 0 too) padded on one side to the longest row and ``extra`` more."""
    width = max(map(len, rows)) + extra

    def fill(row, value):
        gap = [value] * (width - len(row))
        return [*gap, *row] if side == "left" else [*row, *gap]

    ids = torch.tensor([fill(row, pad) for row in rows])
    mask = torch.tensor([fill([1] * len(row), 0) for row in rows])
    labels = torch.tensor([fill(row, IGNORE) for row in rows])
    return ids, mask, labels


def naive(model, ids, mask, labels):
    """Token by token from the model's own full logits; positions count tokens, not padding."""
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    logits = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).logits.float()
    rows = []
    for row in range(ids.shape[0]):
        values = [logits.new_zeros(())]
        for t in range(1, ids.shape[1]):
            wanted = int(labels[row, t])
            values.append(
                logits.new_zeros(()) if wanted == IGNORE else torch.log_softmax(logits[row, t - 1], -1)[wanted]
            )
        rows.append(torch.stack(values))
    return torch.stack(rows)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("architecture", [*ROTARY, "gemma2", "phi", "gpt2"])
@torch.no_grad()
def test_equals_the_naive_log_softmax(made, architecture, side):
    model = made(architecture)
    batch = padded(texts(), side)
    expected = naive(model, *batch)
    assert expected.min() < -1  # the weights say something, so an error would show
    torch.testing.assert_close(token_logprobs(model, *batch), expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(("architecture", "plain"), [("llama", True), ("gpt2", True), ("phi", True), ("gemma2", False)])
def test_a_head_is_plain_unless_logits_change_after_it(made, architecture, plain):
    assert plain_head(made(architecture)) is plain


def test_a_head_is_plain_also_when_first_asked_during_training_with_dropout(made):
    model = made("gpt2")
    model.train()
    assert model.config.resid_pdrop > 0
    assert plain_head(model) is True


@torch.no_grad()
def test_only_labelled_positions_have_values_and_position_0_never_counts(made):
    model = made("llama")
    ids, mask, labels = padded(texts([6]))
    labels[0, [1, 4]] = IGNORE
    values = token_logprobs(model, ids, mask, labels)[0]
    assert (values != 0).tolist() == [False, False, True, True, False, True]


@torch.no_grad()
def test_no_labels_give_zeros(made):
    ids, mask, labels = padded(texts())
    values = token_logprobs(made("llama"), ids, mask, torch.full_like(labels, IGNORE))
    assert torch.equal(values, torch.zeros(ids.shape))


@torch.no_grad()
def test_labels_may_differ_from_the_tokens(made):
    model = made("llama")
    ids, mask, labels = padded(texts())
    labels[labels != IGNORE] = tiny.EOS
    torch.testing.assert_close(
        token_logprobs(model, ids, mask, labels), naive(model, ids, mask, labels), atol=2e-5, rtol=1e-5
    )


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("architecture", [*ROTARY, "gemma2", "phi"])
@torch.no_grad()
def test_padding_changes_nothing(made, architecture, side):
    model, rows = made(architecture), texts()
    batch = token_logprobs(model, *padded(rows, side, extra=3, pad=77))
    for row, values in zip(rows, batch, strict=True):
        alone = token_logprobs(model, *padded([row]))[0]
        places = slice(len(values) - len(row), None) if side == "left" else slice(0, len(row))
        # A row's first token follows padding on the left; its value means nothing and is not compared.
        torch.testing.assert_close(values[places][1:], alone[1:], atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_right_padding_changes_nothing_with_learned_positions(made):
    model, rows = made("gpt2"), texts()
    batch = token_logprobs(model, *padded(rows, "right", extra=3, pad=77))
    for row, values in zip(rows, batch, strict=True):
        alone = token_logprobs(model, *padded([row]))[0]
        torch.testing.assert_close(values[: len(row)], alone, atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_left_padding_changes_nothing_with_learned_positions(made):
    model, (row,) = made("gpt2"), texts([6])
    values = token_logprobs(model, *padded([row], "left", extra=3))[0]
    torch.testing.assert_close(values[4:], token_logprobs(model, *padded([row]))[0, 1:], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("train_head", [False, True])
@pytest.mark.parametrize("architecture", [*ROTARY, "gemma2", "phi", "gpt2"])
def test_gradient_equals_the_naive_one(made, architecture, train_head):
    """Of a decoder weight, the embedding and, if it is trained, the head; with another weight on every label."""
    model, batch = made(architecture), padded(texts())
    wanted = {name: p for name, p in model.named_parameters() if p.dim() == 2 and ".0." in name}
    if train_head:
        wanted |= {f"head.{name}": p for name, p in model.get_output_embeddings().named_parameters()}
    for parameter in wanted.values():
        parameter.requires_grad_(True)
    weights = torch.linspace(-1, 2, batch[0].numel()).view(batch[0].shape)
    expected = torch.autograd.grad((naive(model, *batch) * weights).sum(), list(wanted.values()))
    found = torch.autograd.grad((token_logprobs(model, *batch) * weights).sum(), list(wanted.values()))
    for name, right, mine in zip(wanted, expected, found, strict=True):
        assert right.abs().max() > 1e-3, name
        torch.testing.assert_close(mine, right, atol=1e-4 * float(right.abs().max()), rtol=1e-3, msg=name)


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("positions", [1, 512, 513, 1100])
def test_blocks_of_positions_and_vocabulary_add_up(positions, frozen):
    """9000 words and 1100 positions span several blocks (4096 words, 512 positions)."""
    generator = torch.Generator().manual_seed(1)
    head = nn.Linear(8, 9000, bias=False).requires_grad_(not frozen)
    with torch.no_grad():
        head.weight.normal_(generator=generator)
    states = torch.randn(positions, 8, generator=generator, requires_grad=True)
    labels = torch.randint(0, 9000, (positions,), generator=generator)
    labels[0] = 8999
    weights = torch.randn(positions, generator=generator)

    expected = torch.log_softmax(states.double() @ head.weight.double().T, -1)[torch.arange(positions), labels]
    (right,) = torch.autograd.grad((expected * weights).sum(), states)
    found = label_logprobs(states, head, labels)
    (mine,) = torch.autograd.grad((found * weights).sum(), states)
    torch.testing.assert_close(found, expected.float(), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(mine, right, atol=1e-4, rtol=1e-4)


def test_large_logits_neither_overflow_nor_lose_the_label():
    """Logits 0, 1000 and -1000: log-probabilities are -1000, 0 and -2000 (the sum of the other terms is 0)."""
    head = nn.Linear(1, 3, bias=False).requires_grad_(False)
    head.weight.copy_(torch.tensor([[0.0], [1000.0], [-1000.0]]))
    found = label_logprobs(torch.ones(3, 1), head, torch.tensor([0, 1, 2]))
    assert found.tolist() == [-1000.0, 0.0, -2000.0]


def test_bfloat16_stays_near_the_exact_value():
    """Logits reach about 15, where bfloat16 numbers are 2**-4 apart: two roundings of half that are 0.0625."""
    generator = torch.Generator().manual_seed(2)
    head = nn.Linear(16, 5000, bias=False).bfloat16().requires_grad_(False)
    with torch.no_grad():
        head.weight.normal_(generator=generator)
    states = torch.randn(40, 16, generator=generator).bfloat16().requires_grad_(True)
    labels = torch.randint(0, 5000, (40,), generator=generator)
    exact = torch.log_softmax(states.double() @ head.weight.double().T, -1)[torch.arange(40), labels]
    (right,) = torch.autograd.grad(exact.sum(), states)
    found = label_logprobs(states, head, labels)
    (mine,) = torch.autograd.grad(found.sum(), states)
    assert found.dtype == torch.float32 and mine.dtype == torch.bfloat16
    torch.testing.assert_close(found, exact.float(), atol=0.07, rtol=0)
    assert nn.functional.cosine_similarity(mine.float(), right.float()).min() > 0.999


@torch.no_grad()
def test_a_bfloat16_model_agrees_with_its_own_logits(load):
    model, batch = load("llama", "bfloat16").model, padded(texts())
    values = token_logprobs(model, *batch)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, naive(model, *batch), atol=0.05, rtol=0)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "phi", "gpt2"])
def test_headless_takes_the_head_off_and_puts_the_same_one_back(made, architecture):
    model = made(architecture)
    head, weight = model.get_output_embeddings(), model.get_output_embeddings().weight
    ids = torch.tensor([[1, 5, 9]])
    before = model(ids).logits
    with headless(model) as off:
        assert off is head
        assert model(ids).logits.shape == (1, 3, 32)
    assert model.get_output_embeddings() is head and head.weight is weight
    assert torch.equal(model(ids).logits, before)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
def test_the_head_is_back_after_an_exception(made, architecture):
    model = made(architecture)
    head = model.get_output_embeddings()
    with pytest.raises(ZeroDivisionError), headless(model):
        raise ZeroDivisionError
    assert model.get_output_embeddings() is head
    too_high = torch.full((1, 3), tiny.VOCABULARY)
    with pytest.raises(IndexError):  # the forward pass itself fails: there is no such token
        token_logprobs(model, too_high, torch.ones_like(too_high), too_high)
    assert model.get_output_embeddings() is head


def test_tied_weights_stay_tied(made):
    model = made("qwen2")
    token_logprobs(model, *padded(texts()))
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
