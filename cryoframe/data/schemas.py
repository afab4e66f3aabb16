"""Every column of every table cryoframe keeps, declared once; the tables themselves are in ``tables``."""

from __future__ import annotations

from cryoframe.data.columns import Column, ColumnGroup, Schema
from cryoframe.data.exposure_columns import EXPOSURES as EXPOSURES

CTFFIND4 = "CTFFIND4, doi:10.1016/j.jsb.2015.08.008"
EULER = "ZYZ, Heymann et al. 2005, doi:10.1016/j.jsb.2005.06.001; RELION"
MICROGRAPH_ORIGIN = "centre of pixel [0, 0]"
TO_IMAGE = "translation applied to the image that brings the particle to the box centre"

IDENTITY = ColumnGroup(
    "identity",
    (
        Column("particle_id", "uint64", "Content-derived identity: digest of micrograph, position and picker."),
        Column("micrograph_id", "string", "The micrograph the particle was picked in."),
        Column("optics_group", "string", "Particles that share microscope settings; names an `Optics`."),
        Column(
            "half",
            "uint8",
            "Half-set 1 or 2, assigned once by the kernel; 0 = not assigned.",
            source="Henderson et al. 2012, doi:10.1016/j.str.2011.12.014",
        ),
    ),
)
POSITION = ColumnGroup(
    "position",
    (
        Column(
            "x_A",
            "float32",
            "Particle centre along the fast axis.",
            frame="micrograph",
            origin=MICROGRAPH_ORIGIN,
            axis_order="x is the fast axis",
            sign="grows with the column index",
        ),
        Column(
            "y_A",
            "float32",
            "Particle centre along the slow axis.",
            frame="micrograph",
            origin=MICROGRAPH_ORIGIN,
            axis_order="y is the slow axis",
            sign="grows with the row index",
        ),
    ),
)
PICK_QUALITY = ColumnGroup(
    "pick_quality",
    (
        Column(
            "figure_of_merit",
            "float32",
            "The picker's score; its meaning is the picker's, larger is better.",
            source="rlnAutopickFigureOfMerit",
        ),
    ),
)
IMAGE = ColumnGroup(
    "image",
    (
        Column("stack", "string", "Name of the image stack that holds the particle."),
        Column("stack_index", "int32", "Index of the image in its stack, from 0."),
        Column("box_px", "int32", "Edge of the square box.", frame="box"),
        Column("pixel_size_A", "float32", "Pixel of the box.", frame="box"),
    ),
)
CTF = ColumnGroup(
    "ctf",
    (
        Column(
            "defocus_u_A", "float32", "Defocus along the major axis.", sign="positive is underfocus", source=CTFFIND4
        ),
        Column(
            "defocus_v_A",
            "float32",
            "Defocus along the minor axis, ≤ `defocus_u_A`.",
            sign="positive is underfocus",
            source=CTFFIND4,
        ),
        Column(
            "defocus_angle_deg",
            "float32",
            "Direction of the major axis.",
            frame="micrograph",
            origin="x axis",
            sign="x axis towards y axis",
            source=CTFFIND4,
        ),
        Column(
            "phase_shift_deg",
            "float32",
            "Additional phase of a phase plate.",
            sign="positive retards",
            source="Danev & Baumeister 2016, doi:10.7554/eLife.13046",
        ),
    ),
)
CTF_QUALITY = ColumnGroup(
    "ctf_quality",
    (
        Column(
            "fit_resolution_A", "float32", "Finest spacing to which fitted and observed rings agree.", source=CTFFIND4
        ),
        Column("ctf_score", "float32", "Normalised cross-correlation of fit and spectrum, at most 1.", source=CTFFIND4),
    ),
)
POSE = ColumnGroup(
    "pose",
    (
        Column("rot_deg", "float32", "First Euler angle, about z.", frame="map", handedness="right", source=EULER),
        Column(
            "tilt_deg", "float32", "Second Euler angle, about the new y.", frame="map", handedness="right", source=EULER
        ),
        Column(
            "psi_deg", "float32", "Third Euler angle, about the new z.", frame="map", handedness="right", source=EULER
        ),
        Column(
            "shift_x_A",
            "float32",
            "Shift along x.",
            frame="box",
            origin="box centre n//2",
            sign=TO_IMAGE,
            source="rlnOriginXAngst",
        ),
        Column(
            "shift_y_A",
            "float32",
            "Shift along y.",
            frame="box",
            origin="box centre n//2",
            sign=TO_IMAGE,
            source="rlnOriginYAngst",
        ),
    ),
)
POSE_QUALITY = ColumnGroup(
    "pose_quality", (Column("pose_score", "float32", "Posterior probability of the best pose, 0 to 1."),)
)
CLASS = ColumnGroup(
    "class",
    (
        Column("class_id", "int32", "Class the particle belongs to, from 0."),
        Column("class_probability_frac", "float32", "Posterior probability of that class."),
    ),
)
SPECIMEN = ColumnGroup(
    "specimen",
    (
        Column(
            "z_A",
            "float32",
            "Height of the particle's centre.",
            frame="micrograph",
            origin="middle of the ice in the centre of the field",
            sign="positive adds to the defocus",
        ),
        Column("species", "string", "What it is, as the sample names it."),
        Column("conformation_frac", "float32", "Place on the species' conformational series, 0 to 1."),
        Column("truth_class", "string", "What it truly is: `particle`, or `aggregate`, `broken`, `contamination`."),
    ),
)
PARTICLES = Schema(
    "particles",
    1,
    "particle_id",
    (IDENTITY,),
    (POSITION, PICK_QUALITY, IMAGE, CTF, POSE, POSE_QUALITY, CLASS, SPECIMEN),
)

MOTION = Schema(
    "motion",
    1,
    "",
    (
        ColumnGroup(
            "motion",
            (
                Column("frame", "int32", "Frame of the movie, from 0."),
                Column(
                    "patch_x_A",
                    "float32",
                    "Patch centre; NaN for the whole frame.",
                    frame="micrograph",
                    origin=MICROGRAPH_ORIGIN,
                ),
                Column(
                    "patch_y_A",
                    "float32",
                    "Patch centre; NaN for the whole frame.",
                    frame="micrograph",
                    origin=MICROGRAPH_ORIGIN,
                ),
                Column(
                    "shift_x_A",
                    "float32",
                    "Shift along x.",
                    frame="movie",
                    origin="first frame",
                    sign="translation applied to the frame to undo the motion",
                    source="rlnMicrographShiftX",
                ),
                Column(
                    "shift_y_A",
                    "float32",
                    "Shift along y.",
                    frame="movie",
                    origin="first frame",
                    sign="translation applied to the frame to undo the motion",
                    source="rlnMicrographShiftY",
                ),
            ),
        ),
    ),
    (
        ColumnGroup(
            "motion_quality",
            (
                Column(
                    "shift_sd_A",
                    "float32",
                    "Standard deviation of the shift along each axis, by noise and the residuals of the fit; 0 in the "
                    "first frame.",
                    frame="movie",
                    origin="first frame",
                ),
                Column(
                    "agreement_frac",
                    "float32",
                    "How alike the whole frame is to the others where it was put, 1 being the mean over all pairs of "
                    "frames; near 0 it does not fit. The same in rows of patches.",
                    frame="movie",
                ),
            ),
        ),
    ),
)
CTF_FITS = Schema(
    "ctf",
    1,
    "micrograph_id",
    (ColumnGroup("micrograph", (Column("micrograph_id", "string", "The micrograph."),)), CTF, CTF_QUALITY),
)
CLASSES = Schema(
    "classes",
    1,
    "class_id",
    (
        ColumnGroup(
            "classes",
            (
                Column("class_id", "int32", "Class, from 0."),
                Column("n_particles", "int64", "Particles whose best class this is."),
                Column("resolution_A", "float32", "Resolution of the average by the stated rule of the plugin."),
                Column("class_score", "float32", "The plugin's score of the class, larger is better."),
            ),
        ),
    ),
)
FSC = Schema(
    "fsc",
    1,
    "",
    (
        ColumnGroup(
            "fsc",
            (
                Column("frequency_1_A", "float32", "Centre of the Fourier shell."),
                Column(
                    "fsc_unmasked",
                    "float32",
                    "FSC of the half-maps as they are.",
                    source="Harauz & van Heel 1986, Optik 73, 146",
                ),
                Column("fsc_masked", "float32", "FSC after multiplication by the mask; NaN without a mask."),
                Column(
                    "fsc_corrected",
                    "float32",
                    "FSC corrected for the mask by phase randomisation; NaN without one.",
                    source="Chen et al. 2013, doi:10.1016/j.ultramic.2013.06.004",
                ),
                Column("n_voxels", "int64", "Fourier voxels in the shell, Friedel mates counted once."),
            ),
        ),
    ),
)
ITERATIONS = Schema(
    "iterations",
    1,
    "iteration",
    (
        ColumnGroup(
            "iterations",
            (
                Column("iteration", "int32", "Iteration, from 1."),
                Column("resolution_A", "float32", "Half-map FSC resolution after the iteration, threshold 0.143."),
                Column("angle_change_deg", "float32", "Median change of the particles' orientation."),
                Column("shift_change_A", "float32", "Median change of the particles' shift."),
            ),
        ),
    ),
)
ALL_SCHEMAS = (PARTICLES, MOTION, CTF_FITS, CLASSES, FSC, ITERATIONS, EXPOSURES)
