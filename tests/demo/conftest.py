"""One whole demonstration, with two networks instead of ten in its third act, for all tests of this folder."""

import pytest

import rectifier.demo
from rectifier.demo import DemoResult


@pytest.fixture(scope="session")
def progress() -> list[tuple[str, float]]:
    return []


@pytest.fixture(scope="session")
def result(progress: list[tuple[str, float]]) -> DemoResult:
    return rectifier.demo.run(seed=0, progress=lambda act, share: progress.append((act, share)), _seeds=2, _processes=1)
