"""Every endpoint that docs/services.md shows is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from unteach.endpoints.contract import ENDPOINTS, Endpoint

TEXT = (Path(__file__).parents[2] / "docs" / "services.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_endpoints(example) -> None:
    endpoint = ENDPOINTS.parse(yaml.safe_load(example))
    endpoint.check_budget()
    assert endpoint.title


def test_every_kind_that_asks_a_model_is_shown_and_every_common_default_is_right() -> None:
    assert {yaml.safe_load(example)["name"] for example in EXAMPLES} == {name for name, _ in ENDPOINTS} - {"scripted"}
    for name in ("temperature", "max_tokens", "concurrency", "attempts", "timeout_s"):
        assert f"| `{name}` | {Endpoint.model_fields[name].default:g} |" in TEXT
