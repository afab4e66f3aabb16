"""What a new stage starts from where no reference is installed: the simplest honest body of each hook, as text."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Body:
    """Imports, parameters and statements of a new implementation; `doc` says what it does."""

    doc: str
    lines: tuple[str, ...]
    params: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


#: Stages that the project ships no implementation of yet, done as simply as can be.
BODIES = MappingProxyType(
    {
        "denoise_micrograph": Body(
            "Smooth the micrograph with a Gaussian; replace this by something better.",
            (
                'ctx.report(0, 1, "smoothing")',
                "data = np.asarray(micrograph.data, dtype=np.float32)",
                "if not bool(np.isfinite(data).all()):",
                '    raise InvalidInput("the micrograph holds values that are not finite", expected="finite values")',
                'fy, fx = np.meshgrid(np.fft.fftfreq(data.shape[0]), np.fft.rfftfreq(data.shape[1]), indexing="ij")',
                "width_px = params.width_A / micrograph.pixel_size_A",
                "passed = np.exp(-2.0 * (np.pi * width_px) ** 2 * (fx**2 + fy**2))",
                "smooth = np.fft.irfft2(np.fft.rfft2(data) * passed, s=data.shape).astype(np.float32)",
                'ctx.report(1, 1, "smoothed")',
                "return replace(micrograph, data=smooth)",
            ),
            ("width_A: float = 6.0  # standard deviation of the Gaussian",),
            ("from dataclasses import replace", "import numpy as np", "from cryoframe.errors import InvalidInput"),
        ),
        "select_particles": Body(
            "Keep the particles of every class that is not small; replace this by something better.",
            (
                "table = classes.particles",
                'ctx.report(0, 1, "selecting")',
                "if not bool(np.isfinite(classes.averages).all()):",
                '    raise InvalidInput("a class average holds values that are not finite", expected="finite values")',
                'sizes = np.bincount(table.column("class_id").astype(np.int64), minlength=1)',
                'enough = sizes[table.column("class_id").astype(np.int64)] >= params.smallest_frac * sizes.mean()',
                'ids = table.column("particle_id")[~enough]',
                'ctx.drop(ids.tolist(), "its class is small")',
                'ctx.report(1, 1, "selected")',
                'return ParticleTable.from_columns({"particle_id": table.column("particle_id")[enough]})',
            ),
            ("smallest_frac: float = 0.2  # smallest class that is kept, of the mean size",),
            ("import numpy as np", "from cryoframe.errors import InvalidInput"),
        ),
        "classify_3d": Body(
            "Put every particle into one class, the reference; replace this by something better.",
            (
                'ctx.report(0, 1, "classifying")',
                "if not bool(np.isfinite(stack.images).all()):",
                '    raise InvalidInput("the stack holds values that are not finite", expected="finite values")',
                "n = len(stack.particles)",
                "one = ClassTable.from_columns(",
                "    {",
                '        "class_id": np.zeros(1, dtype=np.int32),',
                '        "n_particles": np.array([n]),',
                '        "resolution_A": np.array([2 * stack.pixel_size_A], dtype=np.float32),',
                '        "class_score": np.ones(1, dtype=np.float32),',
                "    }",
                ")",
                "zeros, ones = np.zeros(n, dtype=np.int32), np.ones(n, dtype=np.float32)",
                'columns = {"class_id": zeros, "class_probability_frac": ones}',
                'ctx.report(1, 1, "classified")',
                "return Classes3D((reference,), one, stack.particles.with_columns(columns))",
            ),
            imports=("import numpy as np", "from cryoframe.errors import InvalidInput"),
            names=("ClassTable",),
        ),
        "analyse_heterogeneity": Body(
            "Give every particle the brightness of its image as its one coordinate; replace this by something better.",
            (
                'ctx.report(0, 1, "analysing")',
                "if not bool(np.isfinite(stack.images).all()):",
                '    raise InvalidInput("the stack holds values that are not finite", expected="finite values")',
                "latent = np.zeros((len(stack.particles), 1), dtype=np.float32)",
                "for row, image in enumerate(stack.images):",
                "    latent[row] = np.mean(image, dtype=np.float64)",
                'ctx.report(1, 1, "analysed")',
                'return Heterogeneity(stack.particles.column("particle_id"), latent, (refinement.volume,))',
            ),
            imports=("import numpy as np", "from cryoframe.errors import InvalidInput"),
        ),
        "refine_ctf": Body(
            "Leave the CTF as it is; replace this by something better.",
            (
                'ctx.report(0, 1, "refining")',
                "if not bool(np.isfinite(stack.images).all()):",
                '    raise InvalidInput("the stack holds values that are not finite", expected="finite values")',
                'ctx.report(1, 1, "refined")',
                "return stack.particles",
            ),
            imports=("import numpy as np", "from cryoframe.errors import InvalidInput"),
        ),
        "estimate_local_resolution": Body(
            "Give every voxel the resolution of the whole map; replace this by something better.",
            (
                "first, second = np.asarray(half_maps.first.data), np.asarray(half_maps.second.data)",
                'ctx.report(0, 1, "FSC")',
                "if not bool(np.isfinite(first + second).all()):",
                '    raise InvalidInput("a half-map holds values that are not finite", expected="finite values")',
                "pixel_size_A = half_maps.first.pixel_size_A",
                "curve = fsc.fsc_curve(first, second, pixel_size_A=pixel_size_A)",
                "reached_A = fsc.resolution_at(curve.frequency_1_A, curve.fsc, params.threshold_frac).resolution_A",
                'ctx.report(1, 1, "FSC")',
                "return LocalResolution(np.full(first.shape, reached_A, dtype=np.float32), pixel_size_A)",
            ),
            ("threshold_frac: float = 0.5  # value of the FSC that counts as resolved",),
            ("import numpy as np", "from cryoframe.errors import InvalidInput", "from cryoframe.numerics import fsc"),
        ),
    }
)
MISSING = Body(
    "To be written.",
    ('raise CryoframeError("NAME is not written yet", remedy="Write it in PLACE.")',),
    names=("CryoframeError",),
)
#: A service that knows no file yet: None lets the next reader try.
SILENT = Body(
    "Know no file yet: judge by its first bytes, and return None where it is not of your kind.", ("return None",)
)
