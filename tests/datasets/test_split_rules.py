"""Whatever is done to the pictures between trainings, no picture that tested a model ever teaches one."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspection.part import Label
from training.data.kept import assigned, changes, follow, read_kept, write_kept
from training.data.sample import Sample

ORDER = ("train", "val", "test")
# What, which picture, and to what: a picture's name, content, label or group changes, or it comes and goes.
edits = st.lists(
    st.tuples(
        st.sampled_from(["rename", "relabel", "regroup", "remove", "return", "rewrite"]),
        st.integers(0, 11),
        st.integers(0, 15),
    ),
    max_size=6,
)


def first() -> list[Sample]:
    """Twelve pictures: pictures 0 to 3 in two groups, the others each in one of its own."""
    return [
        Sample(
            Path(f"{number}.png"), f"{number}.png", Label.NG if number % 3 == 0 else Label.OK,
            group=f"g{number // 2}" if number < 4 else f"{number}.png", sha256=f"s{number}", pixels=f"p{number}",
        )
        for number in range(12)
    ]  # fmt: skip


def edited(samples: list[Sample], away: list[Sample], what: str, which: int, to: int) -> None:
    """As a person would: no two files have one name, and no picture is there twice."""
    if what == "return":
        names = {sample.name for sample in samples}
        samples += [away.pop()] if away and away[-1].name not in names else []
        return
    if which >= len(samples):
        return
    sample = samples[which]
    name = f"{to}.png"
    if what == "remove" and len(samples) > 4:
        away.append(samples.pop(which))
    elif what == "rename" and all(other.name != name for other in samples):
        group = name if sample.group == sample.name else sample.group
        samples[which] = replace(sample, name=name, group=group)
    elif what == "relabel":
        samples[which] = replace(sample, label=Label.NG if sample.label is Label.OK else Label.OK)
    elif what == "regroup":
        samples[which] = replace(sample, group=f"g{to % 3}")
    elif what == "rewrite" and not any(f"new{which}-{to}" == s.pixels for s in (*samples, *away)):
        samples[which] = replace(sample, sha256=f"snew{which}-{to}", pixels=f"new{which}-{to}")


@settings(max_examples=300, deadline=None)
@given(rounds=st.lists(edits, min_size=1, max_size=4), seed=st.integers(0, 3))
def test_sides_only_ever_move_away_from_learning_and_groups_stay_whole(
    rounds: list[list[tuple[str, int, int]]], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("rules") / "linegate-split.csv"
    samples, away = first(), list[Sample]()
    furthest: dict[str, int] = {}
    for edit in [[], *rounds]:
        for one in edit:
            edited(samples, away, *one)
        rows = read_kept(file)
        followed = follow(samples, rows)
        made = assigned(followed.samples, seed)
        counts = changes(followed, made, rows)
        write_kept(file, made, followed.gone)

        assert [replace(sample, split="") for sample in made] == samples
        assert all(sample.split in ORDER for sample in made)
        for sample in made:
            side = ORDER.index(sample.split)
            assert side >= furthest.get(sample.pixels, 0)
            furthest[sample.pixels] = side
        sides = {(sample.group, sample.split) for sample in made}
        assert len(sides) == len({group for group, _ in sides})
        if counts:
            assert counts["kept"] + counts["returned"] + counts["new"] == len(made)


@settings(max_examples=100, deadline=None)
@given(order=st.permutations(range(12)), seed=st.integers(0, 3))
def test_the_first_split_hangs_on_content_alone(
    order: list[int], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def sides(samples: list[Sample]) -> dict[str, str]:
        return {sample.pixels: sample.split for sample in assigned(samples, seed)}

    renamed = [replace(sample, name=f"other/{sample.name}") for sample in first()]
    assert sides(first()) == sides([renamed[number] for number in order])
