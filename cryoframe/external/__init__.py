"""Running other programs under supervision; no knowledge of products."""

from cryoframe.external.command import Command
from cryoframe.external.program import Done, Program
from cryoframe.external.record import FakeProgram, record

__all__ = ["Command", "Done", "FakeProgram", "Program", "record"]
