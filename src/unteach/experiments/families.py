"""All component families, for listing, for their common test and for schemas."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from unteach.corpora.articles import Article
from unteach.corpora.safety import SafetyItem
from unteach.corpora.schema import Scenario
from unteach.edit.contract import EDITORS
from unteach.endpoints.contract import ENDPOINTS
from unteach.errors import UserError
from unteach.experiments.building.spec import BuildSpec
from unteach.experiments.editing.spec import EditingSpec
from unteach.experiments.spec import Spec
from unteach.judge.contract import JUDGES
from unteach.judge.safety import SAFETY_JUDGES
from unteach.makers.contract import TRANSLATORS
from unteach.metrics.contract import MEASURES
from unteach.models.source import MODELS
from unteach.models.tuning import TUNINGS
from unteach.registry import Registry, nearest
from unteach.unlearn.contracts import OBJECTIVES, STOP_RULES, STRATEGIES

FAMILIES: tuple[Registry[Any], ...] = (
    MODELS,
    TUNINGS,
    OBJECTIVES,
    STRATEGIES,
    STOP_RULES,
    JUDGES,
    EDITORS,
    SAFETY_JUDGES,
    MEASURES,
    ENDPOINTS,
    TRANSLATORS,
)


def json_schema(what: str) -> dict[str, Any]:
    """The JSON Schema of a file of scenarios or items, or of a spec of either kind."""
    models: dict[str, type[BaseModel]] = {
        "scenario": Scenario,
        "item": SafetyItem,
        "spec": Spec,
        "editing": EditingSpec,
        "build": BuildSpec,
        "article": Article,
    }
    if what not in models:
        raise UserError(f"there is no schema of {what!r}. {nearest(what, models)}")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **models[what].model_json_schema()}
