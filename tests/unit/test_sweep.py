"""Sweeps: lists where a spec wants one value."""

import copy
import itertools
import json

import pytest
import yaml

from unteach.errors import UserError, UserErrors
from unteach.experiments.spec import Spec
from unteach.experiments.sweep import Point, dump_points, expand, load_points, read_points

RAW = {
    "name": "sweep",
    "model": {"name": "pretrained", "path": "somewhere"},
    "sources": ["de", "ur"],
    "question_languages": ["en", "de"],
    "teach": {"tuning": "lora", "schedule": {"lr": 1e-3}},
    "unlearn": {
        "strategies": ["english", {"name": "multilingual", "forget_languages": ["nl", "es"]}],
        "objective": {"name": "grad_diff", "forget_weight": 0.5},
        "tuning": {"name": "lora", "rank": 4},
        "schedule": {"lr": 1e-3},
        "stop": ["quality_drop", {"name": "perplexity", "limit": 100}],
    },
    "judge": "keyword",
}
MISSING = object()


def raw(**changes):
    """The raw spec with changes: ``unlearn__tuning__rank=[2, 4]`` sets a nested value."""
    made = copy.deepcopy(RAW)
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = made
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    return made


def points(**changes):
    return expand(raw(**changes), "spec.yaml")


def problems(**changes):
    with pytest.raises(UserErrors) as caught:
        points(**changes)
    assert "spec.yaml" in str(caught.value)
    return caught.value.problems


def reach(spec, path):
    for part in path.split("__"):
        spec = getattr(spec, part)
    return spec


def test_a_spec_without_such_a_list_is_one_experiment():
    assert points() == [Point(Spec.model_validate(RAW))]
    assert points()[0].variant is None and points()[0].seed is None


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("real_language", ["en", "de"]),
        ("corpus__limit", [3, 4]),  # a group of fields that the file leaves out otherwise
        ("model__path", ["here", "there"]),
        ("teach__schedule__lr", [1e-3, 1e-4, 1e-5]),
        ("teach__samples__fake", [1, 2]),
        ("teach__instruct__mode", ["mixed", "none"]),
        ("unlearn__tuning__rank", [2, 4]),
        ("unlearn__objective__forget_weight", [0.5, 1.0]),
        ("unlearn__objective__forget_cap", [None, 3.0]),
        ("unlearn__schedule__max_steps", [1, 2]),
        ("unlearn__forget__loss_on", ["article", "passage"]),
        ("ask__max_new_tokens", [8, 16]),
        ("probe__retain_texts", [2, 3]),
        ("forced_choice__candidate", ["claim", "passage"]),
        ("texts__sentences", [1, 2]),
    ],
)
def test_a_list_at_a_field_of_one_value_is_an_axis(path, values):
    made = points(**{path: values})
    wanted = [reach(Spec.model_validate(raw(**{path: value})), path) for value in values]
    assert [reach(point.spec, path) for point in made] == wanted
    assert [point.variant for point in made] == [f"{path.replace('__', '.')}={value}" for value in values]
    assert all(point.seed is None for point in made)
    # nothing else differs
    assert [point.spec for point in made] == [Spec.model_validate(raw(**{path: value})) for value in values]


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("sources", ["de", "ur", "ha"]),
        ("question_languages", ["en", "ur"]),
        ("fake_question_languages", ["hi", "es"]),
        ("unlearn__strategies", ["english", "source"]),
        ("unlearn__stop", ["perplexity"]),
        ("unlearn__stop", []),
        ("unlearn__tuning__targets", ["q_proj", "v_proj"]),
        ("probe__languages", ["en", "@source"]),
        ("measures", ["occurrence", "quality"]),
        ("forced_choice__models", ["r_only", "unlearned"]),
        ("forced_choice__question_languages", ["en", "de"]),
    ],
)
def test_a_list_where_a_list_belongs_is_no_axis(path, values):
    (point,) = points(**{path: values})
    assert point.variant is None
    assert len(reach(point.spec, path)) == len(values)


def test_settings_of_a_component_in_a_natural_list_are_no_axis():
    """Two strategies with other settings stand in the list one after another; a list inside one is its own value."""
    (point,) = points()
    assert point.spec.unlearn.strategies[1].forget_languages == ("nl", "es")


def test_names_of_components_are_an_axis():
    made = points(unlearn__objective=["grad_diff", "grad_ascent", {"name": "npo", "beta": 0.5}])
    assert [point.variant for point in made] == [
        f"unlearn.objective={name}" for name in ("grad_diff", "grad_ascent", "npo(beta=0.5)")
    ]
    assert [point.spec.unlearn.objective.registered_name for point in made] == ["grad_diff", "grad_ascent", "npo"]
    assert made[2].spec.unlearn.objective.beta == 0.5
    made = points(unlearn__tuning=["lora", "full"], judge=["keyword"])
    assert [point.spec.unlearn.tuning.registered_name for point in made] == ["lora", "full"]


def test_one_component_with_different_settings_gives_points_that_can_be_told_apart():
    made = points(unlearn__objective=[{"name": "npo", "beta": 0.1}, {"name": "npo", "beta": 0.5}])
    assert [point.spec.unlearn.objective.beta for point in made] == [0.1, 0.5]
    assert len({(point.variant, point.seed) for point in made}) == 2


@pytest.mark.parametrize(("path", "values"), [("seed", [0, 1, 0]), ("unlearn__tuning__rank", [4, 4])])
def test_a_value_given_twice_is_refused(path, values):
    assert [problem.split(":")[0] for problem in problems(**{path: values})] == [path.replace("__", ".")]


def test_seeds_are_no_variant():
    made = points(seed=[0, 1, 5])
    assert [(point.variant, point.seed, point.spec.seed) for point in made] == [
        (None, 0, 0),
        (None, 1, 1),
        (None, 5, 5),
    ]


def test_a_single_seed_is_none_of_several():
    (point,) = points(seed=3)
    assert (point.variant, point.seed, point.spec.seed) == (None, None, 3)


def test_several_axes_are_combined_in_the_order_of_the_file():
    content = {"seed": [0, 1], **raw(unlearn__schedule__lr=[1e-3, 1e-4], unlearn__tuning__rank=[2, 4])}
    content["unlearn"] = {name: content["unlearn"][name] for name in ("strategies", "objective", "tuning", "schedule")}
    made = expand(content, "spec.yaml")
    wanted = list(itertools.product([0, 1], [2, 4], [1e-3, 1e-4]))
    found = [(p.spec.seed, p.spec.unlearn.tuning.rank, p.spec.unlearn.schedule.lr) for p in made]
    assert found == wanted
    assert [p.seed for p in made] == [seed for seed, _, _ in wanted]
    assert [p.variant for p in made] == [
        f"unlearn.tuning.rank={rank}, unlearn.schedule.lr={lr}" for _, rank, lr in wanted
    ]


def test_the_raw_spec_is_left_as_it_was():
    content = raw(seed=[0, 1], unlearn__tuning__rank=[2, 4])
    kept = copy.deepcopy(content)
    expand(content, "spec.yaml")
    assert content == kept


def test_an_empty_list_is_refused():
    assert problems(seed=[]) == ("seed: an empty list leaves nothing to run",)
    assert problems(unlearn__tuning__rank=[]) == ("unlearn.tuning.rank: an empty list leaves nothing to run",)
    assert len(problems(seed=[], unlearn__tuning__rank=[])) == 2


def test_all_problems_come_at_once_and_each_once():
    found = problems(
        seed=[0, 1, -1], unlearn__tuning__rank=[0, 2], question_languages=["en", "xx"], judge="keywort", colour="red"
    )
    places = [problem.split(":")[0] for problem in found]
    assert sorted(places) == ["colour", "judge", "question_languages", "seed", "unlearn.tuning.rank"]
    assert len(set(found)) == len(found)


def test_an_empty_list_does_not_hide_the_other_problems():
    found = problems(seed=[], question_languages=["xx"])
    assert [problem.split(":")[0] for problem in found] == ["seed", "question_languages"]


def test_a_bad_value_among_good_ones_is_named_with_its_place():
    (problem,) = problems(unlearn__objective__forget_weight=[0.5, -1])
    assert problem.startswith("unlearn.objective.forget_weight: ") and "'-1'" in problem
    (problem,) = problems(unlearn__objective=["grad_diff", "grad_dif"])
    assert problem.startswith("unlearn.objective: ") and "Did you mean 'grad_diff'?" in problem


def test_settings_of_an_unknown_component_are_no_axis():
    (problem,) = problems(unlearn__tuning={"name": "lorra", "rank": [2, 4]})
    assert problem.startswith("unlearn.tuning: ") and "Did you mean 'lora'?" in problem


@pytest.mark.parametrize("place", ["stop", "strategies"])
def test_a_list_inside_a_component_of_a_list_is_refused(place):
    inside = {
        "stop": {"name": "perplexity", "limit": [100, 150]},
        "strategies": {"name": "multilingual", "times": [1, 2]},
    }
    problem, *_ = problems(**{f"unlearn__{place}": [inside[place]]})
    assert problem.startswith(f"unlearn.{place}.0.") and "[1" in problem


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seed": [0, 1, 2]},
        {"unlearn__tuning__rank": [2, 4], "seed": [0, 1]},
        {"unlearn__objective": ["grad_diff", {"name": "npo", "beta": 0.5}], "model__path": ["here", "there"]},
        {"unlearn__strategies": ["family", "multilingual", {"name": "family", "relatives": {"de": "sv"}}]},
    ],
)
def test_points_come_back_from_json_as_they_were(changes):
    made = points(**changes)
    again = load_points(json.loads(json.dumps(dump_points(made))))
    assert again == made
    assert dump_points(again) == dump_points(made)
    assert dump_points(made)["name"] == "sweep"


@pytest.mark.parametrize("changes", [{"seed": [3]}, {"unlearn__tuning__rank": [2]}])
def test_a_sweep_of_one_point_comes_back_as_it_was(changes):
    made = points(**changes)
    assert load_points(json.loads(json.dumps(dump_points(made)))) == made


def test_a_single_spec_is_dumped_as_it_always_was():
    assert dump_points(points()) == Spec.model_validate(RAW).model_dump(mode="json")


def test_points_are_read_from_a_file_and_overrides_may_sweep(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(raw(seed=[0, 1])), encoding="utf-8")
    assert [point.seed for point in read_points(path)] == [0, 1]
    made = read_points(path, ["seed=7", "unlearn.tuning.rank=[2, 4, 8]", "sources=[ha]"])
    assert [(point.variant, point.seed) for point in made] == [
        (f"unlearn.tuning.rank={rank}", None) for rank in (2, 4, 8)
    ]
    assert {point.spec.seed for point in made} == {7}
    assert {point.spec.sources for point in made} == {("ha",)}


def test_what_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(UserError, match="there is no spec"):
        read_points(tmp_path / "none.yaml")
    path = tmp_path / "a.yaml"
    path.write_text("[1, 2]")
    with pytest.raises(UserError, match="a spec is a mapping"):
        read_points(path)
    path.write_text(yaml.safe_dump(raw(seed=["x"])))
    with pytest.raises(UserErrors, match="seed: "):
        read_points(path)
