"""classify_2d `streaming`: its first and last word are `em`'s to the last bit; between, only what is new is paid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cryoframe import Classes2D, ParticleStack, StageContext
from cryoframe.errors import Cancelled, InvalidInput
from cryoframe.testing import cases
from cryoframe_classify import carried, expectation, plugin, streaming

SETTINGS = {"n_classes": 4, "n_iterations": 8, "particle_diameter_A": 96.0}


@pytest.fixture(scope="module")
def whole() -> ParticleStack:
    case = cases.make("classify_2d", "nominal", Path())
    assert case is not None
    stack: ParticleStack = case.inputs["stack"]
    return stack


def some(stack: ParticleStack, rows) -> ParticleStack:
    return replace(stack, images=stack.images[rows], particles=stack.particles.select(rows))


def streamed(stack: ParticleStack, folder: Path, kept: Path | None, **settings: object) -> tuple[Classes2D, list[str]]:
    lines: list[str] = []
    context = StageContext(folder, seed=3, checkpoint_dir=kept, on_log=lines.append)
    return streaming.classify_2d(stack, streaming.Params(**SETTINGS | settings), context), lines  # type: ignore[arg-type]


def same(one: Classes2D, two: Classes2D) -> bool:
    columns = [np.array_equal(one.particles.column(name), two.particles.column(name)) for name in one.particles.names]
    return all(columns) and one.averages.tobytes() == two.averages.tobytes()


@pytest.fixture(scope="module")
def rounds():
    """Images laid to classes, of every round."""
    visits = []
    inner = expectation.angular_search.search

    def search(targets, *given, **more):
        visits.append(len(targets.values))
        return inner(targets, *given, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expectation.angular_search, "search", search)
        yield visits


def test_from_nothing__it_is_em_to_the_last_bit(whole, tmp_path):
    batch = plugin.classify_2d(whole, plugin.Params(**SETTINGS), StageContext(tmp_path, seed=3))
    assert same(batch, streamed(whole, tmp_path, None)[0])
    assert same(batch, streamed(whole, tmp_path, tmp_path)[0])


def test_set_that_grew_a_little__is_gone_on_with_for_a_fraction_of_the_work(whole, tmp_path, rounds):
    m, kept = len(whole.particles), tmp_path / "kept"
    kept.mkdir()
    streamed(some(whole, np.arange(m - 20)), tmp_path, kept)
    rounds.clear()
    result, lines = streamed(whole, tmp_path, kept)
    assert sum(rounds) == 2 * 20 + 2 * m
    assert sum(rounds) < 0.4 * SETTINGS["n_iterations"] * m
    assert "20 of 120 images are new" in lines[0]
    view = whole.particles.column("particle_id")
    assert sorted(result.particles.column("particle_id")) == sorted(view)
    assert (result.classes.column("n_particles").sum()) == m
    seen = carried.load(kept, streaming._key(streaming.Params(**SETTINGS), StageContext(tmp_path, seed=3)))
    assert seen is not None
    assert sorted(set(seen.n_seen.tolist())) == [4, 10]
    assert seen.n_begun == m - 20


def test_set_that_grew_much__is_begun_anew_and_then_it_is_em_once_more(whole, tmp_path):
    streamed(some(whole, np.arange(60)), tmp_path, tmp_path)
    assert same(streamed(whole, tmp_path, tmp_path)[0], streamed(whole, tmp_path, None)[0])


def test_same_set_once_more__gives_the_same_bytes_without_a_round(whole, tmp_path, rounds):
    streamed(some(whole, np.arange(100)), tmp_path, tmp_path)
    first = streamed(whole, tmp_path, tmp_path)[0]
    rounds.clear()
    assert same(first, streamed(whole, tmp_path, tmp_path)[0])
    assert not rounds


def test_order_of_rows__does_not_matter_to_what_is_carried(whole, tmp_path):
    turned = np.random.default_rng(1).permutation(len(whole.particles))
    found = []
    for name, order in (("a", np.arange(len(turned))), ("b", turned)):
        (tmp_path / name).mkdir()
        streamed(some(whole, np.arange(100)), tmp_path, tmp_path / name)
        result = streamed(some(whole, order), tmp_path, tmp_path / name)[0]
        found.append(result.particles.ordered_like(whole.particles).column("class_id"))
    assert np.array_equal(*found)


def test_images_made_anew_and_other_settings__are_not_taken_for_what_was_seen(whole, tmp_path):
    streamed(some(whole, np.arange(110)), tmp_path, tmp_path)
    images = np.array(whole.images)
    images[:5] *= 1.5
    assert "15 of 120 images are new" in streamed(replace(whole, images=images), tmp_path, tmp_path)[1][0]
    assert not any("new" in line for line in streamed(whole, tmp_path, tmp_path, n_classes=3)[1])


def test_particles_that_left_the_set__are_gone_from_the_classes(whole, tmp_path):
    streamed(whole, tmp_path, tmp_path)
    result, lines = streamed(some(whole, np.arange(90)), tmp_path, tmp_path)
    assert "0 of 90 images are new" in lines[0]
    assert len(result.particles) == 90


def test_torn_state__is_as_good_as_none(whole, tmp_path):
    streamed(some(whole, np.arange(100)), tmp_path, tmp_path)
    (path,) = tmp_path.glob("*.npz")
    path.write_bytes(path.read_bytes()[:-2000])
    assert same(streamed(whole, tmp_path, tmp_path)[0], streamed(whole, tmp_path, None)[0])


def test_request_to_stop__is_heard_while_it_goes_on_and_leaves_the_old_state(whole, tmp_path):
    streamed(some(whole, np.arange(100)), tmp_path, tmp_path)
    (path,) = tmp_path.glob("*.npz")
    before = path.read_bytes()
    with pytest.raises(Cancelled):
        streaming.classify_2d(
            whole,
            streaming.Params(**SETTINGS),
            StageContext(tmp_path, seed=3, checkpoint_dir=tmp_path, is_cancelled=lambda: True),
        )
    assert path.read_bytes() == before


@pytest.mark.parametrize("wrong", [{"restart_growth": 0.5}, {"n_refresh_rounds": 0}, {"restart_growth": float("nan")}])
def test_settings_that_cannot_be_meant__are_refused(wrong):
    with pytest.raises(InvalidInput):
        streaming.Params(**wrong)


def test_it_declares_that_it_carries_on__and_em_does_not():
    assert streaming.CARRIES_ON is True
    assert not hasattr(plugin, "CARRIES_ON")
