"""DINM written out: one item at a time, whole forward passes, nothing cached, plain autograd and ``torch.optim.Adam``.

Shares no code with the package. All texts are token ids. A layer's weight is that of its MLP output projection, in
the orientation in which the model keeps it (``[out, in]`` for ``Linear``, ``[in, out]`` for GPT-2's ``Conv1D``).
Models are to be in eval mode, so that nothing is dropped out.
"""

import contextlib

import torch


def decoder_layers(model):
    return model.transformer.h if hasattr(model, "transformer") else model.model.layers


def weight_of(model, layer):
    """The weight of the layer's MLP output projection, and its name in the model."""
    mlp = decoder_layers(model)[layer].mlp
    projection = next(getattr(mlp, name) for name in ("down_proj", "c_proj", "fc2") if hasattr(mlp, name))
    name = next(name for name, parameter in model.named_parameters() if parameter is projection.weight)
    return projection.weight, name


def layer_states(model, ids, mask, final_norm):
    """The states after each layer, ``[B, L, D]`` in float32; the last one before the final norm or after it."""
    raw = []

    def keep(module, args, output):
        raw.append(output[0] if isinstance(output, tuple) else output)

    hook = decoder_layers(model)[-1].register_forward_hook(keep)
    with torch.no_grad():
        output = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask), output_hidden_states=True)
    hook.remove()
    after_each_layer = list(output.hidden_states[1:])  # [0] is the embedding
    if not final_norm:
        after_each_layer[-1] = raw[0]
    return [state.float() for state in after_each_layer]


def naive_locate(model, unsafe_ids, safe_ids, *, count_padding, final_norm):
    """The layer at which two responses are furthest apart, and the distance ``|h_unsafe - h_safe|_2`` at each layer.

    ``count_padding``: both padded on the right to the longer one, and the padding counts. Otherwise each runs alone
    and the positions that both have count.
    """
    assert not model.training
    if count_padding:
        longest = max(len(unsafe_ids), len(safe_ids))
        gaps = [longest - len(unsafe_ids), longest - len(safe_ids)]
        pad = model.config.pad_token_id
        ids = [[*unsafe_ids, *[pad] * gaps[0]], [*safe_ids, *[pad] * gaps[1]]]
        mask = [[1] * (longest - gap) + [0] * gap for gap in gaps]
        pairs = [(state[0], state[1]) for state in layer_states(model, ids, mask, final_norm)]
    else:
        shared = min(len(unsafe_ids), len(safe_ids))
        unsafe = layer_states(model, [list(unsafe_ids)], [[1] * len(unsafe_ids)], final_norm)
        safe = layer_states(model, [list(safe_ids)], [[1] * len(safe_ids)], final_norm)
        pairs = [(u[0, :shared], s[0, :shared]) for u, s in zip(unsafe, safe, strict=True)]
    distances = [(u - s).pow(2).sum().sqrt().item() for u, s in pairs]
    return distances.index(max(distances)), distances


def log_probabilities(model, changed, ids):
    """``log p(. | ids up to here)`` at every position, ``[L, V]`` in float32, with some parameters replaced."""
    output = torch.func.functional_call(model, changed, kwargs={"input_ids": torch.tensor([ids]), "use_cache": False})
    return torch.log_softmax(output.logits[0].float(), dim=-1)


def negative_log_likelihood(model, changed, prompt_ids, target_ids, bos_label):
    """Mean of ``-log p(label)`` over the target's tokens, and over the prompt's last place if that has a label."""
    ids = [*prompt_ids, *target_ids]
    labels = {len(prompt_ids) + index: token for index, token in enumerate(target_ids)}
    if bos_label is not None:
        labels[len(prompt_ids) - 1] = bos_label
    log_p = log_probabilities(model, changed, ids)
    return -torch.stack([log_p[place - 1, label] for place, label in labels.items()]).mean()


def answer_distributions(model, changed, knowledge):
    """Log-probabilities of all words at each token of the knowledge answer, ``[A, V]``."""
    prompt_ids, answer_ids = knowledge
    log_p = log_probabilities(model, changed, [*prompt_ids, *answer_ids])
    return torch.stack([log_p[len(prompt_ids) + index - 1] for index in range(len(answer_ids))])


def naive_edit(
    model,
    layer,
    prompt_ids,
    target_ids,
    knowledge,
    *,
    steps,
    lr,
    nll_weight,
    kl_weight,
    kl_gradient,
    bos_label,
    stop_below,
):
    """Train one weight so that the prompt gives the target: its change, and the losses before each step.

    The change is in float32; the losses are ``(total, nll, kl)``, where ``total = nll_weight * nll + kl_weight * kl``
    and ``kl = KL(before || now)``. ``knowledge`` is ``(prompt ids, answer ids)`` or ``None``. The model itself stays
    as it is: a float32 copy of the weight is trained, and its value in the model's dtype takes the weight's place in
    each forward pass.
    """
    assert not model.training
    weight, name = weight_of(model, layer)
    original = weight.detach().float().clone()
    master = original.clone().requires_grad_()
    optimizer = torch.optim.Adam([master], lr=lr, weight_decay=0)
    if knowledge is not None:
        with torch.no_grad():
            before = answer_distributions(model, {}, knowledge)

    losses = []
    for _ in range(steps):
        changed = {name: master.to(weight.dtype)}
        nll = negative_log_likelihood(model, changed, prompt_ids, target_ids, bos_label)
        kl = torch.tensor(0.0)
        if knowledge is not None:
            now = answer_distributions(model, changed, knowledge)
            kl = (before.exp() * (before - now)).sum(dim=-1).mean()
            if not kl_gradient:
                kl = kl.detach()
        total = nll_weight * nll + kl_weight * kl
        losses.append((total.item(), nll.item(), kl.item()))
        if total.item() < stop_below:
            break
        optimizer.zero_grad()
        total.backward(inputs=[master])
        optimizer.step()
    return master.detach() - original, losses


@contextlib.contextmanager
def naive_edited(model, layer, delta):
    """The weight plus ``delta``, added in float32; bit for bit what it was on leaving."""
    weight, _ = weight_of(model, layer)
    kept = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.copy_((kept.float() + delta).to(weight.dtype))
        yield model
    finally:
        with torch.no_grad():
            weight.copy_(kept)
