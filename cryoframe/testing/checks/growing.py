"""Checks of what a plugin keeps between calls, in the folder it is given for that, of attempts and of growing sets."""

from __future__ import annotations

import dataclasses

import numpy as np

from cryoframe.kernel import contract
from cryoframe.testing import anatomy
from cryoframe.testing.checks import truth
from cryoframe.testing.checks.promise import Check, NotAsked, fail
from cryoframe.testing.sessions import Session

#: Share of the particles that come first, and by how much fewer may then be with their like than at once.
_FIRST, _WORSE_FRAC = 0.75, 0.1


def checkpoint_changes_nothing(session: Session) -> None:
    """A checkpoint folder, empty or with what the same call left, changes nothing in the result."""
    wanted = anatomy.fingerprint(session.nominal().result)
    folder = session.fresh_folder("checkpoint")
    for what in ("an empty checkpoint folder", "what it had left there itself"):
        found = session.call(inputs=session.suited(), checkpoint_dir=folder)
        if anatomy.fingerprint(found) != wanted:
            fail(
                f"with {what} the result has other bytes",
                expected="the same bytes with and without",
                remedy="Keep a state whose key is of all that the result depends on, and go on from it exactly.",
            )


def grows_to_the_batch(session: Session) -> None:
    """A plugin that carries on from a part of the set ends with particles as well sorted as at once."""
    if not contract.plugin_attribute(session.implementation, "CARRIES_ON", False):
        raise NotAsked("it does not declare CARRIES_ON")
    folder, given = session.fresh_folder("checkpoint"), session.copies()
    stack = given["stack"]
    rows = np.arange(int(_FIRST * len(stack.particles)))
    part = dataclasses.replace(stack, images=stack.images[rows], particles=stack.particles.select(rows))
    session.call(inputs={**given, "stack": part}, checkpoint_dir=folder)
    grown = session.call(inputs=given, checkpoint_dir=folder)
    ids = set(grown.particles.column("particle_id").tolist())
    if ids != set(stack.particles.column("particle_id").tolist()):
        fail(f"{len(ids)} particles after the set had grown", expected=f"all {len(stack.particles)}")
    at_once, found = (truth.with_their_like(session, result) for result in (session.nominal().result, grown))
    if found < at_once - _WORSE_FRAC:
        fail(
            f"{100 * found:.0f} % of particles are with their like in the set that grew, {100 * at_once:.0f} % at once",
            expected=f"at most {100 * _WORSE_FRAC:.0f} % fewer",
            remedy="Let the classes follow what is new, or begin anew when the set has grown much.",
        )


CHECKS = (
    Check(checkpoint_changes_nothing, hooks=("classify_2d",)),
    Check(grows_to_the_batch, hooks=("classify_2d",)),
)
