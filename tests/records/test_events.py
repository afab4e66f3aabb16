"""Events are simple facts that survive being written down."""

from __future__ import annotations

import dataclasses
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoframe.errors import Corrupt, InvalidInput
from cryoframe.records import events
from cryoframe.records.events import Clock, Event, ForeignEvent, StageFinished, StageQueued, from_json, new, to_json

NAMES = st.text(st.characters(), max_size=20)
BY_TYPE = {
    str: NAMES,
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    dict[str, events.Scalar]: st.dictionaries(NAMES, st.one_of(NAMES, st.integers(), st.booleans()), max_size=4),
}
HEADER = {"event_id", "time_utc", "run_id", "cause"}


class FacilityEvent(Event):
    """As a plugin would declare one."""

    beam_on: bool
    grids: tuple[str, ...]


def some_event() -> StageQueued:
    return new(StageQueued, "run", stage_id="ctf", item_id="a.mrc", key="00")


@pytest.mark.parametrize("name", events.EVENT_NAMES)
@given(data=st.data())
def test_every_event__comes_back_from_its_text(name: str, data: st.DataObject) -> None:
    cls = getattr(events, name)
    hints = typing.get_type_hints(cls)
    payload = {
        field.name: data.draw(BY_TYPE[hints[field.name]])
        for field in dataclasses.fields(cls)
        if field.name not in HEADER
    }
    event = new(cls, "run", "cause", **payload)
    assert from_json(name, to_json(event)) == event


def test_a_file_name_that_is_not_utf8__comes_back_byte_for_byte() -> None:
    name = b"caf\xe9\n;\xff.mrc".decode("utf-8", "surrogateescape")
    event = new(events.FileIgnored, "run", path=name, root="/data", rule="x")
    back = from_json("FileIgnored", to_json(event))
    assert isinstance(back, events.FileIgnored)
    assert back.path.encode("utf-8", "surrogateescape") == b"caf\xe9\n;\xff.mrc"


def test_ids_of_one_clock__sort_in_the_order_they_were_made() -> None:
    clock = Clock()
    made = [clock.next_id() for _ in range(5000)]
    assert made == sorted(made)
    assert len(set(made)) == 5000
    assert all(len(one) == 24 for one in made)


def test_a_clock_set_back__still_gives_later_ids() -> None:
    far_future = f"{2**62:016x}00000000"
    assert Clock(after=far_future).next_id() > far_future


def test_an_event_of_a_plugin__is_an_event_like_any_other() -> None:
    event = new(FacilityEvent, "run", beam_on=True, grids=("a", "b"))
    assert from_json("FacilityEvent", to_json(event)) == event


def test_an_event_of_an_absent_plugin__is_kept_whole() -> None:
    text = to_json(some_event())
    foreign = from_json("NobodyKnowsThis", text)
    assert isinstance(foreign, ForeignEvent)
    assert to_json(foreign) == text


def test_an_unknown_field__is_refused_naming_the_nearest() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'item_id'"):
        new(StageQueued, "run", stage_id="ctf", itemid="a", key="00")


def test_a_missing_field__is_refused() -> None:
    with pytest.raises(InvalidInput, match="lacks item_id, key"):
        new(StageQueued, "run", stage_id="ctf")


@pytest.mark.parametrize("value", [None, object(), [1], b"x", ("a", None), {"a": (1,)}])
def test_a_payload_that_is_not_simple__is_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"StageQueued\.key"):
        new(StageQueued, "run", stage_id="ctf", item_id="a", key=value)  # type: ignore[arg-type]


def test_events__cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        some_event().key = "else"  # type: ignore[misc]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"event_id": 1}', "null", '{"a'])
def test_a_damaged_text__is_corrupt(text: str) -> None:
    with pytest.raises(Corrupt, match="StageFinished"):
        from_json(StageFinished.__name__, text)
