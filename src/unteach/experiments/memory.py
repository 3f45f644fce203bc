"""How much memory a run needs where it needs most: what is held at the same time, added up. All numbers are bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from unteach.ask.answers import Asking
from unteach.experiments.spec import Spec
from unteach.learn.loop import Schedule
from unteach.models.structure import decoder_layers, linear_modules, output_head
from unteach.models.tuning import Tuning
from unteach.models.tunings.lora import Lora

_ADAPTER_WIDTH = 4  # adapters are kept in float32 whatever the model's format is
_HEAD_POSITIONS = 512


@dataclass(frozen=True)
class Device:
    """What differs between a processor and an accelerator.

    ``program`` is there before any weight, and ``word`` more for each word of the vocabulary (the tokeniser);
    ``slack`` is how much memory activations take for each byte of theirs; ``head_columns`` words of the vocabulary are
    computed at a time in training.
    """

    program: float
    word: float
    slack: float
    head_columns: int


PROCESSOR = Device(program=550e6, word=1360.0, slack=3.0, head_columns=4096)
"""Measured with the embedded model on two CPU cores: Python with torch and transformers 0.52 GiB, its tokeniser of
262,144 words 0.33 GiB. Batches of one length take 1.2 bytes a byte; batches of many lengths leave holes in the heap:
2.7 bytes after forty of them, and 2.5 to 3.5 by the peaks of three whole runs."""

ACCELERATOR = Device(program=0.6e9, word=0.0, slack=1.15, head_columns=65536)
"""Context and kernels of CUDA; torch's caching allocator rounds up. Assumed, not measured here."""


@dataclass(frozen=True)
class Phase:
    """One phase of a run, and what is held in it."""

    name: str
    parts: Mapping[str, float]

    @property
    def total(self) -> int:
        """Bytes."""
        return int(sum(self.parts.values()))


@dataclass(frozen=True)
class Longest:
    """Tokens of the longest sample or prompt of each kind."""

    teach: int = 0
    unlearn: int = 0
    prompt: int = 0


def phases(spec: Spec, skeleton: PreTrainedModel, longest: Longest, width: int, device: Device) -> list[Phase]:
    """Every phase of a run with what it holds. ``width`` is the size of a number in the model's format."""
    vocabulary = _parameters(output_head(skeleton)) // _hidden(skeleton)
    always = always_held(skeleton, width, device)
    teach, unlearn = spec.teach, spec.unlearn
    learned = [teach.tuning]
    found = [
        Phase(
            "teaching",
            always | training(skeleton, teach.tuning, teach.schedule, longest.teach, width, device, vocabulary),
        )
    ]
    if teach.instruct.tuning is not None and teach.instruct.schedule is not None and teach.instruct.mode == "after":
        held = always | {"undo copy": _touched(skeleton, learned) * width}
        own = training(
            skeleton, teach.instruct.tuning, teach.instruct.schedule, longest.teach, width, device, vocabulary
        )
        found.append(Phase("instruction tuning", held | own))
        learned.append(teach.instruct.tuning)
    if unlearn is not None:
        held = always | {"undo copy": _touched(skeleton, learned) * width}
        # both batches of a pair are kept until the backward pass
        tokens = 2 * longest.unlearn
        own = training(skeleton, unlearn.tuning, unlearn.schedule, tokens, width, device, vocabulary)
        found.append(Phase("unlearning", held | own))
        merged = {
            "copy to unmerge": _touched(skeleton, [unlearn.tuning]) * width,
            "adapters and optimiser": 3 * _number_width(unlearn.tuning, width)
            * unlearn.tuning.trainable_parameters(skeleton),
        }  # fmt: skip
        found.append(
            Phase("reading a checkpoint", held | merged | answering(spec.ask, skeleton, longest, width, device))
        )
        learned.append(unlearn.tuning)
    held = always | {"undo copy": _touched(skeleton, learned) * width}
    return [*found, Phase("asking", held | answering(spec.ask, skeleton, longest, width, device))]


def always_held(skeleton: PreTrainedModel, width: int, device: Device) -> dict[str, float]:
    """What is there in every phase."""
    vocabulary = _parameters(output_head(skeleton)) // _hidden(skeleton)
    return {"program": device.program + device.word * vocabulary, "weights": _parameters(skeleton) * width}


def training(
    skeleton: PreTrainedModel,
    tuning: Tuning,
    schedule: Schedule,
    tokens: int,
    width: int,
    device: Device,
    vocabulary: int,
) -> dict[str, float]:
    """What training holds beside the weights, when a batch of the longest samples (``tokens`` each) is in it."""
    learning = tuning.trainable_parameters(skeleton)
    number = _number_width(tuning, width)
    in_batch = tokens * schedule.batch_size
    layers, hidden = len(decoder_layers(skeleton)), _hidden(skeleton)
    layer = kept_by_a_layer(skeleton, tuning, width)
    # One layer more than is kept: in the backward pass its gradients, or with checkpointing the layer itself, again.
    inside = layers * hidden * width + 2 * layer if schedule.gradient_checkpointing else (layers + 1) * layer
    last_states = hidden * (2 * width + 4)  # of the last layer, those at labels, and the gradient made with them
    block = _HEAD_POSITIONS * min(device.head_columns, vocabulary) * (2 * width + 8)
    if isinstance(tuning, Lora):  # and the adapters' copy in the format that is computed with
        own = {"adapters": (number + (width if width < number else 0)) * learning}
    else:
        own = {"copy to restore": learning * width}
    return own | {
        # the gradient, Adam's two moments, and the values before the first step, to see that it changes them
        "gradient and optimiser": 4 * number * learning,
        "activations": device.slack * in_batch * (inside + last_states),
        "output layer": block,
    }


def kept_by_a_layer(skeleton: PreTrainedModel, tuning: Tuning, width: int) -> float:
    """Bytes that one decoder layer keeps for the backward pass, a token; the mean over layers.

    Every linear map keeps its output for what follows (rotation, attention, gate, residual) and, for its gradient or
    its adapter's, its input and the adapter's inner values; every norm its input in float32; the residual is there
    twice.
    Within 10 % of what autograd holds for Llama, Qwen and Gemma 3 in bfloat16 with adapters, 20 % too much in float32.
    """
    layers = decoder_layers(skeleton)
    adapted = set(tuning.modules(skeleton)) if isinstance(tuning, Lora) else set(linear_modules(skeleton))
    rank = tuning.rank if isinstance(tuning, Lora) else 0
    modules = dict(skeleton.named_modules())
    numbers = 0
    for name in linear_modules(skeleton):
        inputs, outputs = _sides(modules[name])
        numbers += outputs + (inputs + rank if name in adapted else 0)
    linear = {id(modules[name]) for name in linear_modules(skeleton)}
    norms = sum(
        p.numel() for module in layers.modules() if id(module) not in linear for p in module.parameters(recurse=False)
    )
    return (width * numbers + 4 * norms) / len(layers) + 2 * width * _hidden(skeleton)


def answering(
    asking: Asking, skeleton: PreTrainedModel, longest: Longest, width: int, device: Device
) -> dict[str, float]:
    """Keys and values of a batch of the longest prompts with their answers, and the logits of its last tokens."""
    config = skeleton.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    cache = 2 * heads * size * config.num_hidden_layers * width * (longest.prompt + asking.max_new_tokens)
    logits = config.vocab_size * (width + 8)  # as they come, in float32, and processed
    return {"keys, values and logits": device.slack * asking.batch_size * (cache + logits)}


def _touched(skeleton: PreTrainedModel, tunings: Iterable[Tuning]) -> int:
    """How many of the model's own numbers these tunings change, which have to be copied to be restored."""
    sizes = {name: p.numel() for name, p in skeleton.named_parameters()}
    inside = {id(p) for p in decoder_layers(skeleton).parameters()}
    names: set[str] = set()
    for tuning in tunings:
        if isinstance(tuning, Lora):
            names |= {f"{name}.weight" for name in tuning.modules(skeleton)}
        else:
            names |= {name for name, p in skeleton.named_parameters() if id(p) in inside}
    return sum(sizes[name] for name in names)


def _number_width(tuning: Tuning, width: int) -> int:
    return _ADAPTER_WIDTH if isinstance(tuning, Lora) else width


def _sides(module: nn.Module) -> tuple[int, int]:
    """Input and output size of a linear map; GPT-2's Conv1D has them the other way round."""
    weight = module.weight
    assert isinstance(weight, nn.Parameter)
    first, second = weight.shape
    return (second, first) if isinstance(module, nn.Linear) else (first, second)


def _hidden(skeleton: PreTrainedModel) -> int:
    return int(skeleton.config.get_text_config().hidden_size)


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
