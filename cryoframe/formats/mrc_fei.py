"""Extended headers FEI1 and FEI2 of MRC files: one typed record an image, in the project's units.

The layout is Thermo Fisher's "MRC2014 format specification" (EPU manual): packed little-endian fields, each valid only
where its bit of the preceding bit mask is set. File sizes and the main header live in ``mrc_header``.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from cryoframe.errors import Corrupt

Value = float | int | str | bool

_M = 1e10  # metre to ångström
_LAYOUT = """
I:mask1 d:timestamp 16s:microscope 16s:d_number 16s:application 16s:application_version d:ht d:dose d:alpha
d:beta d:stage_x d:stage_y d:stage_z d:tilt_axis d:dual_axis d:pixel_x d:pixel_y 48s:unused d:defocus
d:stem_defocus d:applied_defocus i:instrument_mode i:projection_mode 16s:objective_mode 16s:high_mag_mode
i:probe_mode ?:eftem d:magnification I:mask2 d:camera_length i:spot_index d:illuminated_area d:intensity
d:convergence 16s:illumination_mode ?:wide_convergence ?:slit_inserted d:slit_width d:voltage_offset
d:drift_tube d:energy_shift d:shift_offset_x d:shift_offset_y d:shift_x d:shift_y d:integration_time
i:binning_x i:binning_y 16s:camera i:readout_left i:readout_top i:readout_right i:readout_bottom ?:ceta_noise
i:ceta_frames ?:counting ?:aligned 4i:r0,r1,r2,r3 I:mask3 6i:r4,r5,r6,r7,r8,r9 ?:phase_plate 16s:stem_detector
d:gain d:offset 5i:s0,s1,s2,s3,s4 d:dwell_time d:frame_time i:scan_left i:scan_top i:scan_right i:scan_bottom
d:fov_x d:fov_y 16s:element d:energy_low d:energy_high i:method ?:dose_fraction i:fraction_number
i:start_frame i:end_frame 80s:input_stack I:mask4 d:alpha_min d:alpha_max
"""
_LAYOUT_2 = """
d:scan_rotation d:diffraction_rotation d:image_rotation i:scan_mode q:acquisition_time 16s:detector
d:start_tilt d:end_tilt d:tilt_per_image d:tilt_speed i:beam_x i:beam_y q:flash_time i:phase_plate_position
16s:objective_aperture
"""
_BITS = {"unused": 6}
"""The bit mask numbers fields in order; the unused range stands for six withdrawn doubles."""


@dataclass(frozen=True, slots=True)
class FeiMetadata:
    """What the microscope wrote about one image; None where the file marks a field as not set.

    Defocus has the project's sign: positive is underfocus (the file stores metres, negative underfocus).
    """

    version: int
    pixel_size_x_A: float | None = None
    pixel_size_y_A: float | None = None
    voltage_kV: float | None = None
    dose_e_A2: float | None = None
    defocus_A: float | None = None
    applied_defocus_A: float | None = None
    alpha_tilt_deg: float | None = None
    beta_tilt_deg: float | None = None
    tilt_axis_deg: float | None = None
    stage_x_mm: float | None = None
    stage_y_mm: float | None = None
    stage_z_mm: float | None = None
    shift_x: float | None = None
    shift_y: float | None = None
    magnification: float | None = None
    energy_filtered: bool | None = None
    slit_inserted: bool | None = None
    slit_width_eV: float | None = None
    spot_index: int | None = None
    illuminated_area_m: float | None = None
    exposure_s: float | None = None
    binning_x: int | None = None
    binning_y: int | None = None
    camera: str | None = None
    counting: bool | None = None
    phase_plate: bool | None = None
    microscope: str | None = None
    application: str | None = None
    application_version: str | None = None
    n_fraction: int | None = None
    image_rotation_deg: float | None = None


def parse(block: bytes, *, extended_type: str, n_images: int, path: str) -> tuple[FeiMetadata, ...]:
    """Read the records of an FEI1 or FEI2 extended header, at most one for each of `n_images`.

    Raises
    ------
    Corrupt
        A record claims a size the layout does not have or that the block cannot hold.
    """
    fields = _fields(_LAYOUT + (_LAYOUT_2 if extended_type == "FEI2" else ""))
    needed = 8 + sum(struct.calcsize("<" + kind) for kind, _ in fields)
    records: list[FeiMetadata] = []
    offset = 0
    while offset + 8 <= len(block) and len(records) < n_images:
        size, version = struct.unpack_from("<ii", block, offset)
        if size == 0:
            break
        if size < needed or offset + size > len(block):
            raise Corrupt(
                f"{extended_type} record says it has {size} bytes",
                path=path,
                where=f"offset {1024 + offset}",
                expected=f"{needed} bytes or more, within the extended header of {len(block)} bytes",
                remedy="Copy the file again, or strip the extended header.",
            )
        records.append(_record(_valid(block, offset + 8, fields), version))
        offset += size
    return tuple(records)


def _fields(layout: str) -> list[tuple[str, str]]:
    pairs = (entry.partition(":") for entry in layout.split())
    return [(kind, name) for kind, _, name in pairs]


def _valid(block: bytes, offset: int, fields: list[tuple[str, str]]) -> dict[str, Value]:
    """Decode all fields whose bit is set."""
    values: dict[str, Value] = {}
    mask, bit = 0, 0
    for kind, name in fields:
        got = struct.unpack_from("<" + kind, block, offset)
        offset += struct.calcsize("<" + kind)
        if name.startswith("mask"):
            mask, bit = int(got[0]), 0
            continue
        if mask >> bit & 1 and len(got) == 1:
            values[name] = got[0].split(b"\0")[0].decode("latin-1") if isinstance(got[0], bytes) else got[0]
        bit += _BITS.get(name, len(got))
    return values


def _record(values: dict[str, Value], version: int) -> FeiMetadata:
    def number(name: str, factor: float = 1.0) -> float | None:
        value = values.get(name)
        return value * factor if isinstance(value, int | float) and math.isfinite(value) else None

    def whole(name: str) -> int | None:
        value = values.get(name)
        return int(value) if isinstance(value, int) else None

    def text(name: str) -> str | None:
        value = values.get(name)
        return value if isinstance(value, str) and value else None

    def fact(name: str) -> bool | None:
        value = values.get(name)
        return value if isinstance(value, bool) else None

    return FeiMetadata(
        version=version,
        pixel_size_x_A=number("pixel_x", _M),
        pixel_size_y_A=number("pixel_y", _M),
        voltage_kV=number("ht", 1e-3),
        dose_e_A2=number("dose", 1e-20),
        defocus_A=number("defocus", -_M),
        applied_defocus_A=number("applied_defocus", -_M),
        alpha_tilt_deg=number("alpha"),
        beta_tilt_deg=number("beta"),
        tilt_axis_deg=number("tilt_axis"),
        stage_x_mm=number("stage_x", 1e3),
        stage_y_mm=number("stage_y", 1e3),
        stage_z_mm=number("stage_z", 1e3),
        shift_x=number("shift_x"),
        shift_y=number("shift_y"),
        magnification=number("magnification"),
        energy_filtered=fact("eftem"),
        slit_inserted=fact("slit_inserted"),
        slit_width_eV=number("slit_width"),
        spot_index=whole("spot_index"),
        illuminated_area_m=number("illuminated_area"),
        exposure_s=number("integration_time"),
        binning_x=whole("binning_x"),
        binning_y=whole("binning_y"),
        camera=text("camera"),
        counting=fact("counting"),
        phase_plate=fact("phase_plate"),
        microscope=text("microscope"),
        application=text("application"),
        application_version=text("application_version"),
        n_fraction=whole("fraction_number"),
        image_rotation_deg=number("image_rotation"),
    )
