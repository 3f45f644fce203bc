"""The training loop: order, steps, accumulation, checkpoints, and its refusals."""

import contextlib
import statistics
from itertools import chain

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unteach.errors import UserError
from unteach.learn.loop import Schedule, SimilarLengths, check_weights_moved, train
from unteach.learn.teach import language_model_loss
from unteach.models.batches import Encoded, pad
from unteach.models.tuning import TUNINGS
from unteach.unlearn.contracts import OBJECTIVES, Batches


def encoded(count, seed=0, shortest=4, longest=16):
    generator = torch.Generator().manual_seed(seed)
    items = []
    for _ in range(count):
        length = int(torch.randint(shortest, longest + 1, (1,), generator=generator))
        ids = (tiny.BOS, *torch.randint(3, tiny.VOCABULARY, (length,), generator=generator).tolist())
        items.append(Encoded(ids, (-100, *ids[1:])))
    return items


def collate(batch):
    return pad(batch, tiny.PAD)


def attached(load, settings="full"):
    return TUNINGS.parse(settings).attach(load("llama").model, 0)


class Line(nn.Module):
    """One weight, so that losses can be worked out by hand; ``frozen`` has no part in them."""

    def __init__(self, trainable=True):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1), requires_grad=trainable)
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)


def numbers(batch):
    return {"x": torch.tensor(batch, dtype=torch.float32)}


def line_loss(model, batch):
    return {"fit": (model.weight * batch["x"]).mean()}


def run_line(items, schedule, model=None, loss=line_loss, **options):
    return train(model or Line(), items, numbers, loss, Schedule(**{"lr": 0.1, **schedule}), seed=0, **options)


def seen_by(items, schedule, **options):
    """The items of every forward pass, in order."""
    seen = []

    def loss(model, batch):
        seen.append([int(x) for x in batch["x"]])
        return line_loss(model, batch)

    log = run_line(items, schedule, loss=loss, **options)
    return seen, log


def test_training_lowers_the_loss_and_logs_every_step(load):
    items = encoded(4)
    with attached(load) as model:
        log = train(model, items, collate, language_model_loss, Schedule(lr=0.01, max_steps=6, batch_size=4), seed=0)
    assert [entry.step for entry in log] == [1, 2, 3, 4, 5, 6]
    assert log[-1].terms["nll"] < log[0].terms["nll"] - 0.5


def test_a_step_is_logged_as_the_mean_of_its_forward_passes():
    # AdamW moves the one weight by lr = 1e-3 at most, so at the first step it is 1 and the mean of 1..4 is 2.5
    log = run_line([1, 2, 3, 4], {"lr": 1e-3, "max_steps": 1, "batch_size": 1, "accumulation": 4})
    assert log[0].terms == {"fit": pytest.approx(2.5)}


def test_nothing_trainable_is_refused():
    with pytest.raises(UserError, match="nothing to train"):
        check_weights_moved({}, Line(trainable=False))


def test_training_with_nothing_trainable_is_refused(load):
    model = load("llama").model  # as loaded: everything frozen
    with pytest.raises(UserError, match="nothing to train"):
        train(model, encoded(2), collate, language_model_loss, Schedule(lr=0.1, max_steps=2), seed=0)


def test_a_loss_that_does_not_reach_the_weights_is_refused():
    def detached(model, batch):
        return {"fit": (model.weight * 0).sum() + batch["x"].mean()}

    with pytest.raises(UserError, match="none of 1 trainable weights changed"):
        run_line([1, 2], {"max_steps": 2}, loss=detached)


def test_frozen_gradients_are_noticed_after_a_warmup_too():
    def detached(model, batch):
        return {"fit": (model.weight * 0).sum()}

    with pytest.raises(UserError, match="none of 1 trainable weights changed"):
        run_line([1, 2], {"max_steps": 6, "warmup": 0.5}, loss=detached)


def test_a_rate_too_small_to_register_in_bfloat16_is_refused(load):
    model = load("llama", "bfloat16").model
    # The norms' weights are 1, where bfloat16 has steps of 1/128 and 1/256: a change of 1e-9 is rounded away. (Among
    # the other weights some are so near 0 that they would move.)
    with TUNINGS.parse("full").attach(model, 0) as trainable:
        for name, parameter in trainable.named_parameters():
            parameter.requires_grad_(name.endswith("layernorm.weight"))
        with pytest.raises(UserError, match="learning rate may be too small"):
            train(trainable, encoded(2), collate, language_model_loss, Schedule(lr=1e-9, max_steps=2), seed=0)


def test_one_weight_that_moves_is_enough():
    model = nn.Linear(2, 2)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with pytest.raises(UserError, match="none of 2"):
        check_weights_moved(before, model)
    with torch.no_grad():
        model.bias[1] += 1
    check_weights_moved(before, model)


def test_a_warmup_that_takes_all_steps_does_not_pass_for_training():
    model = Line()
    try:
        run_line([1, 2], {"max_steps": 1, "warmup": 0.5}, model=model)
    except UserError:
        return
    assert model.weight.item() != 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_no_number_names_its_terms(bad):
    def loss(model, batch):
        return {"retain": model.weight.sum() * 2, "forget": model.weight.sum() * bad}

    with pytest.raises(UserError, match=rf"at step 1 \(retain 2, forget {bad:.3g}\).*lower the learning rate"):
        run_line([1, 2], {"max_steps": 2}, loss=loss)


def trajectory(load, batch_size, accumulation, pairs, lengths=None, steps=6):
    objective = OBJECTIVES.parse("grad_diff")

    def both(batch):
        return {"forget": collate([f for f, _ in batch]), "retain": collate([r for _, r in batch])}

    def loss(model, batch):
        return objective(model, Batches(**batch), contextlib.nullcontext)

    schedule = Schedule(lr=3e-4, max_steps=steps, batch_size=batch_size, accumulation=accumulation)
    with attached(load) as model:
        log = train(model, pairs, both, loss, schedule, seed=5, lengths=lengths)
        weights = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    return log, weights


@pytest.mark.parametrize("sorted_by_length", [False, True])
@pytest.mark.parametrize("count", [12, 10])  # ten items: the last step of an epoch has half as many
def test_accumulation_is_the_same_as_a_larger_batch(load, count, sorted_by_length):
    pairs = list(zip(encoded(count, seed=1), encoded(count, seed=2), strict=True))
    lengths = [len(f.ids) + len(r.ids) for f, r in pairs] if sorted_by_length else None
    large, large_weights = trajectory(load, 4, 1, pairs, lengths)
    small, small_weights = trajectory(load, 2, 2, pairs, lengths)
    assert [entry.step for entry in large] == [entry.step for entry in small] == [1, 2, 3, 4, 5, 6]
    for one, other in zip(large, small, strict=True):
        assert one.terms.keys() == {"forget", "retain"}
        assert other.terms == pytest.approx(dict(one.terms), rel=1e-5)
    start = dict(load("llama").model.named_parameters())
    for name, value in large_weights.items():
        # AdamW divides by the gradient's size, so where it is nearly zero rounding shows in the weight, not in the loss
        torch.testing.assert_close(small_weights[name], value, rtol=1e-5, atol=1e-4)
        assert (value - start[name]).abs().max() > 5e-4, name  # six steps of at most 3e-4 each


def test_accumulation_is_the_same_when_an_epochs_last_step_has_fewer_passes(load):
    """AdamW forgives one wrong factor for all steps, but not one that changes between steps of two passes and of one;
    and a batch with labels must not make the Trainer count their tokens instead."""
    items = encoded(6, seed=7, shortest=9, longest=9)  # equal lengths, so that the mean over tokens is one over items
    losses = []
    for batch_size, accumulation in ((4, 1), (2, 2)):
        schedule = Schedule(
            lr=3e-3, max_steps=6, batch_size=batch_size, accumulation=accumulation, max_grad_norm=1e9, decay="constant"
        )
        with attached(load) as model:
            log = train(model, items, collate, language_model_loss, schedule, seed=5)
        losses.append([entry.terms["nll"] for entry in log])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][-1] < losses[0][0] - 0.1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 500), min_size=1, max_size=200), st.integers(1, 9), st.integers(0, 5))
def test_similar_lengths_is_a_permutation_each_epoch(lengths, batch_size, seed):
    sampler = SimilarLengths(lengths, batch_size, seed)
    assert len(sampler) == len(lengths)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert sorted(order) == list(range(len(lengths)))
        assert list(sampler) == order  # the same epoch, the same order


def test_similar_lengths_differ_by_epoch_and_seed():
    orders = []
    for seed in (0, 1):
        sampler = SimilarLengths(list(range(100)), 4, seed)
        for epoch in (0, 1):
            sampler.set_epoch(epoch)
            orders.append(tuple(sampler))
    assert len(set(orders)) == 4


def two_kinds(count=256):
    """Three of four items are short (20 to 29 tokens), one of four long (100 to 139)."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 1000, (count,), generator=generator).tolist()
    return [100 + noise[i] % 40 if i % 4 == 3 else 20 + noise[i] % 10 for i in range(count)]


def padding(lengths, order, batch_size):
    batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    return sum(max(lengths[i] for i in batch) * len(batch) - sum(lengths[i] for i in batch) for batch in batches)


def test_similar_lengths_pad_less_than_a_random_order():
    lengths = two_kinds()
    for seed in range(5):
        random_order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed)).tolist()
        assert padding(lengths, list(SimilarLengths(lengths, 4, seed)), 4) < 0.5 * padding(lengths, random_order, 4)


@pytest.mark.parametrize("seed", range(5))
def test_every_kind_is_spread_over_the_epoch(seed):
    lengths = two_kinds()
    order = list(SimilarLengths(lengths, 4, seed))
    long = [lengths[index] >= 100 for index in order]
    # A quarter of the items are long. In every 64 consecutive items (two pools of 8 batches of 4) 16 are expected; by
    # chance alone the standard deviation is at most sqrt(64 / 4 * 3 / 4) = 3.5. In bursts it would be 0 or 64.
    shares = [sum(long[at : at + 64]) for at in range(0, len(long), 64)]
    assert sum(shares) == 64
    assert all(4 <= share <= 30 for share in shares)
    # and no long stretch is without them: at most the rest of one pool and the start of the next
    positions = [at for at, is_long in enumerate(long) if is_long]
    gaps = [after - before for before, after in zip([0, *positions], [*positions, len(long)], strict=True)]
    assert max(gaps) <= 64
    assert statistics.mean(positions) == pytest.approx(len(long) / 2, rel=0.15)


def test_only_the_last_batch_is_short():
    seen, _ = seen_by(list(range(21)), {"epochs": 1, "batch_size": 4}, lengths=list(range(1, 22)))
    assert [len(batch) for batch in seen] == [4, 4, 4, 4, 4, 1]
    assert sorted(chain.from_iterable(seen)) == list(range(21))


def test_every_epoch_of_a_training_has_another_order():
    items = list(range(12))
    seen, _ = seen_by(items, {"epochs": 3, "batch_size": 4}, lengths=[item + 1 for item in items])
    epochs = [seen[at : at + 3] for at in (0, 3, 6)]
    assert all(sorted(chain.from_iterable(epoch)) == items for epoch in epochs)
    assert len({str(epoch) for epoch in epochs}) == 3


@pytest.mark.parametrize("with_lengths", [False, True])
def test_the_seed_alone_decides_the_order(with_lengths):
    items = list(range(20))
    lengths = [item + 1 for item in items] if with_lengths else None

    def order(seed):
        seen = []

        def loss(model, batch):
            seen.extend(batch["x"].tolist())
            return line_loss(model, batch)

        torch.manual_seed(len(seen) + torch.randint(1000, (1,)).item())  # the surroundings must not matter
        train(Line(), items, numbers, loss, Schedule(lr=0.1, batch_size=4), seed=seed, lengths=lengths)
        return seen

    assert order(3) == order(3)
    assert order(3) != order(4)


@pytest.mark.parametrize("epochs", [0.1, 0.5, 1, 1.2, 1.5, 2, 2.7])
@pytest.mark.parametrize(
    ("items", "batch_size", "accumulation"), [(10, 2, 1), (10, 3, 2), (7, 4, 2), (3, 8, 4), (9, 1, 4)]
)
def test_steps_are_what_the_trainer_runs(items, batch_size, accumulation, epochs):
    schedule = {"epochs": epochs, "batch_size": batch_size, "accumulation": accumulation}
    log = run_line(list(range(1, items + 1)), schedule)
    assert len(log) == Schedule(lr=0.1, **schedule).steps(items)
    assert [entry.step for entry in log] == list(range(1, len(log) + 1))


@pytest.mark.parametrize(
    ("settings", "items", "steps"),
    [
        ({"batch_size": 4}, 10, 3),  # 10 / 4, rounded up
        ({"batch_size": 4, "accumulation": 2}, 10, 2),  # 3 passes, two a step
        ({"batch_size": 4, "epochs": 1.5}, 10, 5),  # 3 * 1.5 = 4.5
        ({"batch_size": 4, "epochs": 0.1}, 10, 1),
        ({"batch_size": 4, "epochs": 9, "max_steps": 2}, 10, 2),
        ({"batch_size": 8}, 3, 1),
    ],
)
def test_steps_by_hand(settings, items, steps):
    assert Schedule(lr=0.1, **settings).steps(items) == steps


def test_progress_is_advanced_to_its_total():
    class Bar:
        def __init__(self):
            self.opened = []
            self.done = 0

        @contextlib.contextmanager
        def task(self, description, total):
            self.opened.append((description, total))
            yield self

        def advance(self, amount=1):
            self.done += amount

    bar = Bar()
    run_line(list(range(10)), {"batch_size": 4, "epochs": 1.5}, progress=bar, label="forgetting")
    assert bar.opened == [("forgetting", 5)]
    assert bar.done == 5


def run_with_checkpoints(every, steps, stop_at=None):
    calls = []

    def checkpoint(model, step):
        calls.append((step, model.weight.item()))
        return step == stop_at

    log = run_line([1.0] * 4, {"max_steps": steps, "batch_size": 1}, checkpoint=checkpoint, checkpoint_every=every)
    return calls, log


@pytest.mark.parametrize(
    ("every", "steps", "called"),
    [(2, 6, [2, 4, 6]), (2, 5, [2, 4, 5]), (4, 3, [3]), (1, 3, [1, 2, 3]), (0, 3, [3])],
)
def test_checkpoints_come_every_so_often_and_after_the_last_step(every, steps, called):
    calls, log = run_with_checkpoints(every, steps)
    assert [step for step, _ in calls] == called
    assert len(log) == steps


def test_a_checkpoint_sees_the_weights_after_its_step():
    # the gradient is always 1, so AdamW moves by lr * (1 - step / 4), with the rate falling from 0.1 to 0 in 4 steps:
    # 1 - 0.1 = 0.9, then - 0.075, - 0.05, - 0.025
    calls, _ = run_with_checkpoints(1, 4)
    assert [weight for _, weight in calls] == pytest.approx([0.9, 0.825, 0.775, 0.75], abs=1e-6)


def test_a_checkpoint_can_end_the_training():
    calls, log = run_with_checkpoints(2, 10, stop_at=4)
    assert [step for step, _ in calls] == [2, 4]
    assert [entry.step for entry in log] == [1, 2, 3, 4]


def losses_with_lora(load, gradient_checkpointing):
    items = encoded(8, seed=3)
    schedule = Schedule(lr=0.01, max_steps=5, batch_size=4, gradient_checkpointing=gradient_checkpointing)
    model = load("llama").model
    with TUNINGS.parse({"name": "lora", "rank": 4}).attach(model, 0) as trainable:
        log = train(trainable, items, collate, language_model_loss, schedule, seed=0)
        moved = [p.abs().sum().item() for name, p in trainable.named_parameters() if "lora_B" in name]
    return [entry.terms["nll"] for entry in log], moved, model


def test_gradient_checkpointing_trains_lora_the_same(load):
    plain, _, _ = losses_with_lora(load, False)
    saved, moved, _ = losses_with_lora(load, True)
    assert saved == pytest.approx(plain, rel=1e-5)
    assert saved[-1] < saved[0] - 0.1
    assert len(moved) == 14  # seven linear maps in each of two layers, all of which learn
    assert all(value > 0 for value in moved)


def test_gradient_checkpointing_leaves_nothing_behind(load):
    _, _, model = losses_with_lora(load, True)
    ids = torch.tensor([[tiny.BOS, 5, 6]])
    assert not model.get_input_embeddings()(ids).requires_grad
    assert not model.is_gradient_checkpointing
