"""What is known at the points of a slice, read in a window; and the landmarks that all parts of a head share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trainer.phantom.anatomy import BrainFields, SkullFields
from trainer.phantom.landmarks import above_tentorium_mm, posterior_fossa_mm, tentorium_mm
from trainer.phantom.points import as_point, distance
from trainer.phantom.sample import Fluid, Sample, part_of


def _sample() -> Sample:
    field = np.arange(2 * 6 * 8, dtype=np.float32).reshape(2, 6, 8)
    return Sample(
        points=np.stack([field] * 3),
        inside_points=np.stack([field] * 3),
        skull=SkullFields(field, field, field, field),
        brain=BrainFields(field, field, field, field),
        broad=(field,) * 4,
        fine=(field,) * 4,
        folds=field,
    )


def test_a_part_of_a_sample_is_a_view_of_every_field_of_it() -> None:
    whole, window = _sample(), (slice(1, 4), slice(2, 8))
    part = part_of(whole, window)
    assert part.points.shape == part.inside_points.shape == (3, 2, 3, 6)
    fields = [part.folds, *part.broad, *part.fine, part.skull.inner, part.brain.cistern]
    assert {field.shape for field in fields} == {(2, 3, 6)}
    np.testing.assert_array_equal(part.skull.skin, whole.skull.skin[:, 1:4, 2:8])
    part.folds[:] = -1
    assert (whole.folds[:, 1:4, 2:8] == -1).all()


def test_fluid_of_any_kind_is_as_much_as_there_is_of_the_most() -> None:
    none = np.zeros((1, 1, 2), np.float32)
    dry = Fluid(none, none, none, none, none)
    wet = replace(dry, cistern=none + 0.4, ring=np.array([[[0.7, 0.1]]], np.float32))
    assert not dry.total().any()
    np.testing.assert_allclose(wet.total(), [[[0.7, 0.4]]])


def test_the_tentorium_rises_to_the_midline_with_the_posterior_fossa_below_and_behind() -> None:
    lateral = np.array([0.0, 20.0, 40.0], np.float32)
    assert (np.diff(tentorium_mm(lateral)) < 0).all()
    z = np.array([-30.0, 0.0, 10.0], np.float32)
    np.testing.assert_allclose(above_tentorium_mm(z, lateral), z - tentorium_mm(lateral), atol=1e-4)
    below, above, in_front = (
        posterior_fossa_mm(*(np.array([value], np.float32) for value in place))[0]
        for place in ((-15.0, -70.0, -40.0), (-15.0, -70.0, 20.0), (-15.0, 20.0, -40.0))
    )
    assert below > 10
    assert above < 0
    assert in_front < 0


def test_distances_count_each_axis_in_its_own_unit() -> None:
    points = np.array([[4.0, 0.0], [0.0, 3.0], [0.0, 0.0]], np.float32)
    centre = as_point(np.array([1, 0, 0]))
    assert centre == (1.0, 0.0, 0.0)
    np.testing.assert_allclose(distance(points, centre), [3.0, 10**0.5], rtol=1e-6)
    np.testing.assert_allclose(distance(points, centre, (1.0, 3.0, 1.0)), [3.0, 2**0.5], rtol=1e-6)
