"""The columns of the table of exposures: one row a micrograph, from landing to verdict; see `figures`.

What is not known of a micrograph is a null: no motion was corrected, no CTF fitted, nothing picked (yet).
"""

from __future__ import annotations

from cryoframe.data.columns import Column, ColumnGroup, Schema

RELION_MOTION = "RELION's rlnAccumMotionTotal, -Early and -Late, boundary at 4 e/Å²"

EXPOSURE = ColumnGroup(
    "exposure",
    (
        Column("micrograph_id", "string", "The movie or micrograph, by its path below the folder it landed in."),
        Column("path", "string", "Its file."),
        Column(
            "status", "string", "One of `done`, `waiting` (work is left), `set_aside` (a stage gave up), `refused`."
        ),
        Column("reason", "string", "Why it was set aside or refused; empty otherwise."),
        Column("warnings", "string", "What a person should look at, in words, separated by `; `."),
        Column("landed_utc", "string", "When the file was last seen to change, by the clock of the run."),
        Column("admitted_utc", "string", "When it was found whole and became work."),
        Column("finished_utc", "string", "When the last of its stages had ended; null while work is left."),
    ),
)
MOVIE = ColumnGroup(
    "movie",
    (
        Column("n_frames", "int32", "Frames of the movie, after grouping."),
        Column("pixel_size_A", "float32", "Pixel of the micrograph that was worked on."),
        Column("dose_e_A2", "float32", "Total dose that was assumed."),
        Column(
            "counts_1_px", "float32", "Mean of the aligned, unweighted sum: electrons a pixel for a counting camera."
        ),
    ),
)
MOTION = ColumnGroup(
    "motion",
    (
        Column("motion_total_A", "float32", "Length of the way of the whole frame.", source=RELION_MOTION),
        Column("motion_early_A", "float32", "Of it, up to a dose of 4 e/Å².", source=RELION_MOTION),
        Column("motion_late_A", "float32", "Of it, after that dose.", source=RELION_MOTION),
        Column("motion_step_A", "float32", "Longest step from one frame to the next."),
        Column("motion_local_A", "float32", "RMS over patches of where they end against the whole frame."),
    ),
)
FIT = ColumnGroup(
    "ctf",
    (
        Column("defocus_u_A", "float32", "Defocus along the major axis.", sign="positive is underfocus"),
        Column("defocus_v_A", "float32", "Defocus along the minor axis.", sign="positive is underfocus"),
        Column("defocus_angle_deg", "float32", "Direction of the major axis.", origin="x axis", sign="x towards y"),
        Column("phase_shift_deg", "float32", "Additional phase of a phase plate.", sign="positive retards"),
        Column("tilt_deg", "float32", "Angle of the specimen against the image plane, from the CTF by place."),
        Column("fit_resolution_A", "float32", "Finest spacing to which fitted and observed rings agree."),
        Column("ctf_score", "float32", "Normalised cross-correlation of fit and spectrum, at most 1."),
        Column("ctf_confidence_frac", "float32", "Probability that the defocus is right to 3 %."),
        Column("ctf_accepted", "bool", "Whether the fit is to be relied on."),
        Column("ctf_verdict", "string", "What speaks against the micrograph, in words."),
        Column("ice_thickness_A", "float32", "Thickness of the ice along the beam."),
    ),
)
VERDICT = ColumnGroup(
    "verdict",
    (
        Column("verdict", "string", "One of `good`, `contaminated`, `crystalline` or `empty`."),
        Column("excluded_frac", "float32", "Share of the area that may hold no particles."),
    ),
)
PARTICLES = ColumnGroup(
    "particles",
    (
        Column("n_picks", "int64", "Particles that were picked."),
        Column("n_particles", "int64", "Particles that were boxed."),
    ),
)
STATED = ColumnGroup(
    "stated",
    (
        Column("applied_defocus_A", "float32", "Defocus that the microscope was asked for.", sign="positive is under"),
        Column("stage_tilt_deg", "float32", "Tilt of the stage as the side-car states it."),
    ),
)
PICTURES = ColumnGroup(
    "pictures",
    (
        Column("sum_png", "string", "The micrograph, averaged to a small picture; path below the run folder."),
        Column("drift_png", "string", "The way of the whole frame; path below the run folder."),
        Column("ctf_png", "string", "Observed spectrum beside the fit; path below the run folder."),
        Column("picks_png", "string", "The micrograph with its picks; path below the run folder."),
        Column("usable_png", "string", "The micrograph with what may not be used shaded; path below the run folder."),
    ),
)
EXPOSURES = Schema(
    "exposures", 1, "micrograph_id", (EXPOSURE, MOVIE, MOTION, FIT, VERDICT, PARTICLES, STATED, PICTURES)
)
