"""Errors of pydantic models become findings that say where in the YAML file something is wrong, and what."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from adapter.validation import Problem, Problems, validate
from adapter.yamlfile import Loc, YamlFile


class Cat(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["dog"]
    dog: str = ""
    leash: bool = True


Pet = Annotated[Annotated[Cat, Tag("cat")] | Annotated[Dog, Tag("dog")], Discriminator("type")]


def _short(name: str) -> str:
    if len(name) > 5:
        raise Problem("too long a name", "at most 5 letters")
    return name


def _no_holes(holes: dict[str, int]) -> dict[str, int]:
    raise Problems([Problem(f"{name} leaks", at=(name,)) for name in holes])


class Shed(BaseModel):
    model_config = ConfigDict(extra="forbid", title="a shed")
    colour: Literal["red", "green"] = "red"
    owner: str = Field(description="who pays")
    pets: dict[Annotated[str, AfterValidator(_short)], Pet] = {}
    toys: list[str] = Field(default=["ball"], min_length=1, description="things")
    holes: Annotated[dict[str, int], AfterValidator(_no_holes)] | None = None


class Yard(BaseModel):
    model_config = ConfigDict(extra="forbid")
    sheds: list[Shed] = []


@pytest.mark.parametrize(
    ("shed", "finding"),
    [
        ("owner: a\n    color: red", "3:5: unknown key 'color' in a shed (did you mean 'colour'?)"),
        ("owner: a\n    xyz: 1", "3:5: unknown key 'xyz' in a shed (known are colour, owner, pets, toys, holes)"),
        ("colour: red", "2:5: owner is required (who pays)"),
        ("owner: a\n    toys:", "3:5: toys must be a list of things, not nothing"),
        ("owner: a\n    toys: []", "3:11: toys must be a list of things, not an empty list"),
        ("owner: [a]", "2:12: owner must be text, not a list (who pays)"),
        ("owner:", "2:5: owner must be text, not nothing (who pays)"),
        ("owner: a\n    colour: gren", "3:13: colour must be 'red' or 'green' (did you mean 'green'?)"),
        ("owner: a\n    pets: {whiskers: {type: cat}}", "3:12: too long a name (at most 5 letters)"),
        ("owner: a\n    pets: {tom: {type: cat, live: 3}}", "3:29: unknown key 'live' (did you mean 'lives'?)"),
        ("owner: a\n    pets: {rex: {type: dog, dog: x, leesh: no}}", "unknown key 'leesh' (did you mean 'leash'?)"),
        ("owner: a\n    pets: {rex: {type: dog, dog: x, leash: tight}}", "3:44: leash must be true or false, not text"),
        ("owner: a\n    pets: {rex: [x]}", "3:17: rex must be a mapping, not a list"),
        ("owner: a\n    pets: {rex: {type: cow}}", "3:17: sheds.0.pets.rex: input tag 'cow'"),
        ("text", "2:5: a shed must be a mapping of colour, owner, pets, toys, holes, not text"),
    ],
)
def test_an_error_is_reported_where_it_stands_and_in_plain_words(shed: str, finding: str) -> None:
    yard, findings = validate(YamlFile("a.yaml", f"sheds:\n  - {shed}\n".encode()), Yard)
    assert yard is None
    (found,) = findings
    assert finding in str(found)


def test_one_validator_can_report_several_errors() -> None:
    file = YamlFile("a.yaml", b"sheds:\n  - owner: a\n    holes:\n      roof: 1\n      wall: 2\n")
    assert [str(finding) for finding in validate(file, Yard)[1]] == [
        "a.yaml:4:13: roof leaks",
        "a.yaml:5:13: wall leaks",
    ]


@pytest.mark.parametrize(("loc", "line"), [(("sheds", 0), 2), (("sheds", 1), 3)])
def test_a_part_of_a_file_is_validated_at_its_place(loc: Loc, line: int) -> None:
    file = YamlFile("a.yaml", b"sheds:\n  - {owner: 1}\n  - {owner: [2]}\n")
    (finding,) = validate(file, Shed, loc)[1]
    assert finding.line == line
