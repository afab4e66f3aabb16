"""Which executor a run has: a built-in one, or the offer of ``make_executor`` that its configuration names."""

from __future__ import annotations

from cryoframe.errors import ConfigError
from cryoframe.execution.executor import Executor, Inline, Voice, mute
from cryoframe.execution.processes import Processes
from cryoframe.kernel import contract
from cryoframe.kernel.attempt import BUILT_IN_EXECUTORS, ELSEWHERE, ExecutorRequest
from cryoframe.kernel.config import RunConfig
from cryoframe.kernel.plugins import Plugins

HOOK = "make_executor"
#: Folders of a run that may lie where other machines see them, apart from its database.
SHARED = ("stages", "scratch", "damaged", "checkpoints", ELSEWHERE)


def here(config: RunConfig, voice: Voice = mute) -> Executor:
    """Return an executor on this machine, whatever is configured for attempts: for headers and such."""
    return Inline(voice) if config.executor == "inline" else Processes(voice, folder=config.folder)


def chosen(config: RunConfig, plugins: Plugins, voice: Voice = mute) -> Executor:
    """Return the executor that the configuration names.

    Raises
    ------
    ConfigError, PluginError
        If there is none of that name, or its settings are wrong.
    EnvironmentFault
        If what it needs cannot be reached.
    """
    if config.executor in BUILT_IN_EXECUTORS:
        return here(config, voice)
    plugin = plugins.load(plugins.select(HOOK, config.executor))
    folder = config.path.parent if config.path else None
    cls = contract.params_class(plugin.module)
    given = dict(config.executor_settings)
    settings = contract.params_from(cls, given, where="[executor]", folder=folder) if cls else given
    elsewhere, scratch = ((config.folder / name).resolve() for name in (ELSEWHERE, "scratch"))
    elsewhere.mkdir(parents=True, exist_ok=True)
    request = ExecutorRequest(config.folder, scratch, elsewhere, voice, n_attempts=config.workers, settings=settings)
    made: Executor = plugins.call(plugin, HOOK, {"request": request})  # type: ignore[assignment]
    return made


def left_elsewhere(config: RunConfig) -> tuple[str, ...]:
    """Return the names of scratch folders that somebody on another machine may still be at, or has finished with.

    An executor of a plugin sees to them; with a built-in one nobody would, so there are none.
    """
    place = config.folder / ELSEWHERE
    if config.executor in BUILT_IN_EXECUTORS or not place.is_dir():
        return ()
    return tuple(path.name for path in place.iterdir())


def share_products(config: RunConfig) -> None:
    """Link the folders of products and attempts to where the configuration wants them.

    Raises
    ------
    ConfigError
        If the run has such folders of its own already, or they cannot be made.
    """
    if config.products is None:
        return
    for name in SHARED:
        link, place = config.folder / name, config.products / name
        try:
            place.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink() and not link.exists():
                link.symlink_to(place)
        except OSError as error:
            raise ConfigError(f"[run] products: '{place}' cannot be made ({error.strerror})") from error
        if link.resolve() != place.resolve():
            raise ConfigError(
                f"[run] products is '{config.products}', but {link} is elsewhere",
                expected=f"a link to {place}",
                remedy="Move what is there to the new place and link to it, or give [run] the products it had.",
            )
