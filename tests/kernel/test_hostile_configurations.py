"""Configurations that mean harm: deep, huge, doubled, code in every place; refused in words, and nothing is run."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from cryoframe.errors import ConfigError, PluginError
from cryoframe.kernel import config
from cryoframe.kernel.plan import make_plan
from cryoframe.kernel.plugins import Plugins

RUN = '[run]\nname = "a"\nfolder = "out"\n[micrographs]\nfiles = "m/*.mrc"\n'
HOSTILE = {
    "nested a hundred thousand deep": RUN + "x = " + "[" * 100_000 + "]" * 100_000,
    "tables nested ten thousand deep": "[" + ".".join("a" * 10_000) + "]\n",
    "a number of a million digits": RUN + f"[watch]\npoll_s = {'9' * 1_000_000}\n",
    "a float past all": RUN + "[watch]\nfolder = 'x'\npoll_s = 1e999999\n",
    "a negative time": RUN + "[watch]\nfolder = 'x'\npoll_s = -1.0\n",
    "not a number": RUN + "[watch]\nfolder = 'x'\nsettle_s = nan\n",
    "a key twice": RUN + "[watch]\npoll_s = 1.0\npoll_s = 2.0\n",
    "a section twice": RUN + RUN,
    "a YAML tag": RUN + "x: !!python/object/apply:os.system ['touch pwned']\n",
    "a stage that names a folder": RUN + '[[stage]]\nid = "../../x"\nrun = "estimate_ctf"\n',
    "bytes that are no text": (RUN + '\nx = "').encode() + b'\xff\xfe"',
    "a NUL": RUN + 'x = "a\0b"\n',
    "JSON": '{"run": {"name": "a"}}',
    "a million keys": RUN + "\n".join(f"k{n} = 1" for n in range(200_000)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_configuration_that_means_harm__is_refused_at_once(tmp_path: Path, name: str) -> None:
    content = HOSTILE[name]
    path = tmp_path / "run.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    begun_s = time.process_time()
    with pytest.raises(ConfigError) as refused:
        config.load(path)
    assert time.process_time() - begun_s < 10.0
    assert len(str(refused.value)) < 2000, "the words are for a person"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["run.toml"]


@pytest.mark.parametrize("hook", ["!!python/object/apply:os.system", "../../os.system", "os.system", "__init__"])
def test_a_stage_that_is_no_hook__is_refused_by_the_plan(hook: str) -> None:
    made = config.from_mapping({"stage": [{"id": "s", "run": hook}]}, folder=Path("/session"))
    with pytest.raises((ConfigError, PluginError), match="hook"):
        make_plan(made, Plugins((), ())).require()


def test_text_with_commands_in_it__is_text(tmp_path: Path) -> None:
    words = "$(touch pwned); `touch pwned` __import__('os').system('touch pwned') {0.__class__} %(x)s ${HOME}"
    path = tmp_path / "run.toml"
    path.write_text(f'[run]\nname = "{words}"\nfolder = "out"\n[micrographs]\nfiles = "m/*.mrc"\n')
    code = "import sys; from pathlib import Path; from cryoframe.kernel import config\n"
    code += "print(config.load(Path(sys.argv[1])).name)"
    words_of_python = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(words_of_python, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0 or "ConfigError" in done.stderr
    assert done.returncode or done.stdout.strip() == words
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["run.toml"]
