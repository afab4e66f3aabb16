"""select_particles `by_class`: the stated rule, its evidence, the alarm, and people's choice on real picks."""

from __future__ import annotations

from pathlib import Path

import betagal
import numpy as np
import pytest

from cryoframe import Classes2D, StageContext
from cryoframe.errors import InvalidInput
from cryoframe.testing import cases, phantoms
from cryoframe_classify import by_class, plugin


def classes_of(counts, scores, resolutions):
    case = cases.make("select_particles", "nominal", Path())
    assert case is not None
    given = case.inputs["classes"]
    labels = np.repeat(np.arange(len(counts)), counts)
    particles = given.particles.select(np.arange(len(labels))).with_columns({"class_id": labels.astype(np.int32)})
    table = type(given.classes).from_columns(
        {
            "class_id": np.arange(len(counts), dtype=np.int32),
            "n_particles": np.array(counts, dtype=np.int64),
            "resolution_A": np.array(resolutions, dtype=np.float32),
            "class_score": np.array(scores, dtype=np.float32),
        }
    )
    return Classes2D(np.zeros((len(counts), 8, 8), np.float32), table, particles, 4.0)


def chosen(classes, tmp_path, **settings):
    told, metrics, dropped = [], {}, []
    context = StageContext(
        tmp_path,
        on_log=told.append,
        on_metric=lambda name, value, unit: metrics.update({name: value}),
        on_drop=lambda ids, reason, values, threshold: dropped.append((len(ids), reason, threshold)),
    )
    table = by_class.select_particles(classes, by_class.Params(**settings), context)
    return np.unique(table.column("class_id")).tolist(), told, metrics, dropped


def test_classes_of_low_score_or_resolution_or_size__are_left_out_with_their_evidence(tmp_path):
    given = classes_of([40, 20, 30, 10, 3], [10.0, 9.0, 2.0, 8.0, 12.0], [10.0, 12.0, 11.0, 30.0, 9.0])
    kept, told, metrics, dropped = chosen(given, tmp_path)
    assert kept == [0, 1]
    assert [item[0] for item in dropped] == [30, 10, 3]
    assert "score 2.00 below 4.00" in dropped[0][1]
    assert dropped[0][2] == pytest.approx(4.0)
    assert "30.0 Å worse" in dropped[1][1]
    assert "fewer than 5" in dropped[2][1]
    assert len(told) == 5
    assert metrics["survivors_frac"] == pytest.approx(60 / 103)
    assert "survivors_alarm" not in metrics


@pytest.mark.parametrize(("scores", "word"), [([9.0, 9.0, 9.0], "many"), ([9.0, 1.0, 1.0], "few")])
def test_unusual_share_of_survivors__raises_the_alarm(tmp_path, scores, word):
    _, told, metrics, _ = chosen(classes_of([20, 40, 40], scores, [10.0] * 3), tmp_path)
    assert metrics["survivors_alarm"] == 1.0
    assert word in told[-1]


def test_classes_that_nothing_speaks_for__are_left_out_however_poor_the_others_are(tmp_path):
    kept, _, metrics, dropped = chosen(classes_of([20, 30, 40], [2.9, 3.1, 2.0], [10.0] * 3), tmp_path)
    assert kept == [1]
    assert [threshold for _, _, threshold in dropped] == [3.0, 3.0]
    assert metrics["survivors_frac"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("n_classes", [4, 12])
def test_pure_noise__has_no_good_class_and_raises_the_alarm(tmp_path, say, n_classes):
    """Averages of noise look like something, the more so the fewer images they hold: each image is part of its own."""
    made = phantoms.particles(300, snr=0.0, key="noise 2d")
    params = plugin.Params(n_classes=n_classes, particle_diameter_A=96.0)
    classes = plugin.classify_2d(made.stack, params, StageContext(tmp_path, seed=1))
    score = classes.classes.floats("class_score")
    say(f"{len(score)} classes of 300 images of noise: scores {score.min():.1f} to {score.max():.1f}")
    metrics, told = {}, []
    context = StageContext(
        tmp_path, on_log=told.append, on_metric=lambda name, value, unit: metrics.update({name: value})
    )
    assert len(by_class.select_particles(classes, by_class.Params(), context)) == 0
    assert metrics["survivors_alarm"] == 1.0
    assert "few" in told[-1]


@pytest.mark.parametrize("broken", ["score", "resolution"])
def test_class_whose_evidence_is_no_number__is_left_out(tmp_path, broken):
    scores, resolutions = [10.0, 9.0, 8.0], [10.0, 11.0, 12.0]
    (scores if broken == "score" else resolutions)[0] = float("nan")
    kept, _, _, dropped = chosen(classes_of([40, 20, 30], scores, resolutions), tmp_path)
    assert kept == [1, 2]
    assert "nan" in dropped[0][1]


def test_particles_of_unknown_classes__are_refused(tmp_path):
    given = classes_of([20, 30], [9.0, 9.0], [10.0, 10.0])
    wrong = Classes2D(given.averages[:1], given.classes.select([0]), given.particles, 4.0)
    with pytest.raises(InvalidInput, match="not in the table"):
        chosen(wrong, tmp_path)


@pytest.mark.slow
def test_real_picks__are_chosen_as_people_did(shared_data, tmp_path, say):
    stack = betagal.picks(shared_data, tmp_path)
    classes = plugin.classify_2d(
        stack, plugin.Params(n_classes=20, n_iterations=15, particle_diameter_A=190.0), StageContext(tmp_path, seed=2)
    )
    table = by_class.select_particles(classes, by_class.Params(), StageContext(tmp_path))

    def places(particles):
        names = (Path(str(name)).name for name in particles.column("micrograph_id"))
        x, y = (np.round(particles.floats(axis)).astype(int).tolist() for axis in ("x_A", "y_A"))
        return set(zip(names, x, y, strict=True))

    wanted = places(betagal.particles(shared_data, tmp_path).particles)
    kept, everything = places(table), places(stack.particles)
    recall = len(kept & wanted) / len(wanted)
    precision, before = len(kept & wanted) / len(kept), len(everything & wanted) / len(everything)
    say(
        f"selection from {len(everything)} picks: {len(kept)} kept, of people's 593 {100 * recall:.0f} % found; "
        f"{100 * precision:.0f} % of the kept are people's choice, {100 * before:.0f} % of all were"
    )
    assert recall > 0.7
    assert precision > before + 0.06
