"""One real server for all tests that ask one; it must be gone when they have ended."""

import os
from collections.abc import Iterator

import pytest
from serving import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running
    assert running.process.returncode is not None
    with pytest.raises(ProcessLookupError):
        os.kill(running.process.pid, 0)
