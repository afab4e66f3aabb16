"""The STAR tokenizer: strictness with line numbers, nothing inferred, round trips, RELION as judge of what we write."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoframe.errors import Corrupt, Incomplete, InvalidInput, Refused, SchemaError, Unsupported
from cryoframe.formats.star import StarBlock, parse_star, read_star, write_star

WITHOUT_FINAL_NEWLINE = {"two_single_line_loop_blocks.star", "ap_s_c2d_red.star"}
HEAD = b"data_particles\n\nloop_\n_rlnA #1\n_rlnB #2\n"


def real_files(shared_data: Path) -> list[Path]:
    return sorted(shared_data.rglob("*.star"))


def test_every_real_star_file_is_read__two_have_no_final_newline_and_are_held_for_incomplete(shared_data: Path) -> None:
    files = real_files(shared_data)
    assert len(files) == 77
    for path in files:
        if path.name in WITHOUT_FINAL_NEWLINE:
            with pytest.raises(Incomplete, match=r"line \d+: the last line has no newline"):
                read_star(path)
        blocks = read_star(path, require_final_newline=path.name not in WITHOUT_FINAL_NEWLINE)
        assert blocks
        for block in blocks.values():
            assert {len(values) for values in block.columns.values()} == {block.n_rows}


def test_every_real_star_file__survives_writing_and_reading(shared_data: Path, tmp_path: Path) -> None:
    for path in real_files(shared_data):
        blocks = read_star(path, require_final_newline=False)
        write_star(tmp_path / "again.star", blocks)
        again = read_star(tmp_path / "again.star")
        assert {name: block.columns for name, block in again.items()} == {n: b.columns for n, b in blocks.items()}
        assert [block.is_loop for block in again.values()] == [block.is_loop for block in blocks.values()]


def test_known_contents_of_real_files(shared_data: Path) -> None:
    star = shared_data / "star"
    quoted = read_star(star / "starfile-tests/basic_single_quote.star")[""]
    assert quoted.columns == {
        "no_quote_string": ["noquote"],
        "quote_string": ["quote string"],
        "whitespace_string": [" "],
        "empty_string": [""],
    }
    loop = read_star(star / "starfile-tests/loop_double_quote.star")[""]
    assert loop.strings("empty_string_and_normal_string") == ["", "test"]
    assert read_star(star / "starfile-tests/empty_loop.star")[""].n_rows == 0
    job = read_star(star / "relion5-project-sppractice/AutoPick/job008/job.star")["joboptions_values"]
    options = dict(zip(job.strings("rlnJobOptionVariable"), job.strings("rlnJobOptionValue"), strict=True))
    assert options["ref3d_sampling"] == "30 degrees"
    assert options["other_args"] == ""
    model = read_star(star / "relion-1.x/ref_it002_model.star")
    assert model["model_general"].floats("rlnPixelSize")[0] == 3.540002
    assert len(model["model_class_1"].floats("rlnResolution")) == 51
    mtf = read_star(star / "relion-mtf/mtf_k2_300kV.star")["mtf_k2_300kv"]
    assert mtf.floats("rlnMtfValue")[1] == 0.988714
    assert read_star(shared_data / "particles/cryodrgn_tests/relion5.star")["optics"].version == 50001


def test_nothing_is_inferred__a_movie_called_1e5_stays_text() -> None:
    block = parse_star(HEAD + b"1e5 a#b.mrcs\n007 nan\n")["particles"]
    assert block.strings("rlnA") == ["1e5", "007"]
    assert block.strings("rlnB") == ["a#b.mrcs", "nan"]


def test_comments_begin_at_a_word__and_line_ends_may_be_crlf() -> None:
    block = parse_star(HEAD.replace(b"\n", b"\r\n") + b"# note\r\n 1 2 # trailing 'words\r\n\r\n3 4\r\n")["particles"]
    assert block.columns == {"rlnA": ["1", "3"], "rlnB": ["2", "4"]}
    assert list(block.row_lines) == [7, 9]


def test_quotes__hold_spaces_hashes_and_the_other_quote() -> None:
    block = parse_star(HEAD + b'"a \'b\' #c" \'it"s\'\n don\'t "x"y" \n')["particles"]
    assert block.columns == {"rlnA": ["a 'b' #c", "don't"], "rlnB": ['it"s', 'x"y']}


@pytest.mark.parametrize(
    ("tail", "kind", "words"),
    [
        (b"1 2\n3\n", Corrupt, "line 7: 1 fields; expected 2"),
        (b"1 2 3\n", Corrupt, "line 6: 3 fields; expected 2"),
        (b"1 2\n3 4", Incomplete, "line 7: the last line has no newline"),
        (b"1 'x\n", Corrupt, "line 6: quote"),
        (b"1 2\n_rlnC 3\n", Corrupt, "line 7: text '_rlnC'"),
        (b"_rlnA\n1 2 3\n", Corrupt, "line 6: column 'rlnA' appears twice"),
        (b"1 2\ndata_particles\n", Corrupt, "line 7: second block"),
        (b"1 2\nloop_\n_rlnC\n3\n", Unsupported, "line 7: a second table"),
        (b"1 2\n;text\n;\n", Unsupported, "line 7: multi-line"),
        (b"1 2\nsave_x\n", Unsupported, "line 7"),
        (b"1 \0\n", Corrupt, "line 6: NUL"),
        (b"_rln\xc3\x85 #3\n", Corrupt, "line 6: name"),
    ],
)
def test_violations__are_errors_with_the_line(tail: bytes, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        parse_star(HEAD + tail)


def test_text_outside_blocks_and_bare_names__are_errors() -> None:
    for raw in (b"1 2\n", b"loop_\n", b"data_\nvalue\n", b"data_\n_name\n", b"data_\n_name 1 2\n"):
        with pytest.raises(Corrupt, match="line"):
            parse_star(raw)
    for raw in (b"", b"data_\nloop_\n"):
        with pytest.raises(Incomplete):
            parse_star(raw)


def test_a_million_columns__are_refused_at_once() -> None:
    raw = b"data_\nloop_\n" + b"".join(b"_c%d\n" % i for i in range(20_000))
    begin = time.perf_counter()
    with pytest.raises(Refused, match="10000 columns"):
        parse_star(raw)
    assert time.perf_counter() - begin < 10


def test_a_repaired_file__is_read_afresh(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    path.write_bytes(HEAD + b"1\n")
    with pytest.raises(Corrupt):
        read_star(path)
    path.write_bytes(HEAD + b"1 2\n")
    assert read_star(path)["particles"].strings("rlnB") == ["2"]
    with pytest.raises(Refused):
        read_star(path, max_bytes=10)


def test_typed_access__names_line_and_value() -> None:
    block = parse_star(HEAD + b"1.5 2\n1_0 7.000\nnan 7.5\n")["particles"]
    with pytest.raises(Corrupt, match=r"line 7: column 'rlnA' holds '1_0'"):
        block.floats("rlnA")
    with pytest.raises(Corrupt, match=r"line 8: column 'rlnB' holds '7.5'; expected a whole number"):
        block.ints("rlnB")
    with pytest.raises(SchemaError, match=r"did you mean 'rln[AB]'"):
        block.floats("rlna")
    fine = parse_star(HEAD + b"nan 2\n-inf 3.0\n")["particles"]
    assert np.isnan(fine.floats("rlnA", finite=False)[0])
    with pytest.raises(Corrupt, match="line 6"):
        fine.floats("rlnA")
    assert fine.ints("rlnB").tolist() == [2, 3]
    big = parse_star(HEAD + b"1 9223372036854775808\n")["particles"]
    with pytest.raises(Corrupt):
        big.ints("rlnB")


def test_cut_at_every_percent__never_loses_rows_silently(shared_data: Path) -> None:
    raw = (shared_data / "particles/cryodrgn_tests/relion31.6opticsgroups.star").read_bytes()
    whole = parse_star(raw)
    for percent in range(100):
        cut = raw[: len(raw) * percent // 100]
        if cut.endswith(b"\n"):
            continue  # a cut at a line's end is a whole, shorter file: only a count from elsewhere can tell
        with pytest.raises(Incomplete):
            parse_star(cut)
    assert whole["particles"].n_rows == 139


def test_values_star_cannot_hold__are_invalid_input(tmp_path: Path) -> None:
    for value in ("a\nb", "a\0", "both ' and \" marks"):
        with pytest.raises(InvalidInput):
            write_star(tmp_path / "a.star", {"x": {"c": [value]}})
    with pytest.raises(InvalidInput, match="unequal"):
        write_star(tmp_path / "a.star", {"x": {"c": ["1"], "d": []}})
    with pytest.raises(InvalidInput, match="column name"):
        write_star(tmp_path / "a.star", {"x": {"c d": ["1"]}})
    with pytest.raises(InvalidInput, match="outside a loop"):
        write_star(tmp_path / "a.star", {"x": StarBlock({"c": ["1", "2"]}, is_loop=False)})


ONE_LINE = st.characters(codec="utf-8", exclude_characters='\n\r\0"', exclude_categories=("Cs",))
TEXT = st.text(ONE_LINE, max_size=12)


@given(
    st.integers(1, 4).flatmap(
        lambda n: st.lists(st.lists(TEXT, min_size=n, max_size=n), max_size=6).map(lambda rows: (n, rows))
    )
)
@settings(max_examples=200, deadline=None)
def test_any_one_line_text__survives(
    tmp_path_factory: pytest.TempPathFactory, table: tuple[int, list[list[str]]]
) -> None:
    n, rows = table
    columns = {f"c{i}": [row[i] for row in rows] for i in range(n)}
    path = tmp_path_factory.getbasetemp() / "texts.star"
    write_star(path, {"block": columns})
    assert read_star(path)["block"].columns == columns


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes__give_blocks_or_one_of_the_declared_errors(raw: bytes) -> None:
    try:
        blocks = parse_star(b"data_\nloop_\n_a\n_b\n" + raw)
    except (Incomplete, Corrupt, Unsupported, Refused):
        return
    assert all(len(set(map(len, block.columns.values()))) <= 1 for block in blocks.values())


def test_a_hundred_thousand_rows_of_twenty_columns__take_seconds(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    columns = {f"rlnC{i}": [f"{v:.6f}" for v in rng.normal(size=100_000)] for i in range(20)}
    begin = time.perf_counter()
    write_star(tmp_path / "big.star", {"particles": columns})
    block = read_star(tmp_path / "big.star")["particles"]
    values = block.floats("rlnC7")
    assert time.perf_counter() - begin < 20  # 2 s on an idle core; the margin is for a shared one
    assert values.tolist() == [float(v) for v in columns["rlnC7"]]


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_star_printtable") is None, reason="RELION is not installed")
def test_relion_reads_the_values_we_write(tmp_path: Path) -> None:
    names = ["plain.mrc", "has#hash.mrc", "1e5", "don't.mrc"]
    block = StarBlock({"rlnMicrographName": names, "rlnDefocusU": ["1.0", "2.5", "3e4", "-4"]})
    write_star(tmp_path / "a.star", {"optics": {"rlnOpticsGroup": ["1"]}, "micrographs": block})
    done = subprocess.run(
        ["relion_star_printtable", "a.star", "data_micrographs", "_rlnMicrographName", "_rlnDefocusU"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()]
    assert [name for name, _ in rows] == names
    assert [float(value) for _, value in rows] == [1.0, 2.5, 3e4, -4.0]
